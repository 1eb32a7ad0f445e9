"""How many tokens a prompt is: estimated from its text, and corrected by what providers report.

Estimates are for limits and reports, never for bills.
"""

from collections.abc import Iterable

from pydantic_core import to_json

from letta.schemas.messages import ImagePart, Message, Part, ToolReturnPart

_BYTES_PER_TOKEN = 4
_LETTERS_PER_TOKEN = 1.5
_IMAGE_TOKENS = 1_500
_FLAVOUR = "tokens"
_PER_MESSAGE = 4
# How far one report moves the correction, and how far from 1 it may go.
_WEIGHT, _LEAST, _MOST = 0.5, 0.25, 6.0


def count_tokens(text: str) -> int:
    """An estimate for any tokenizer: four ASCII characters a token, one and a half letters of other scripts."""
    plain = len(text) if text.isascii() else len(text.encode("ascii", "ignore"))
    return -(-plain // _BYTES_PER_TOKEN) + round((len(text) - plain) / _LETTERS_PER_TOKEN)


def message_tokens(message: Message) -> int:
    """The estimate for one message; counted once and kept with it."""
    kept = message.encoded(_FLAVOUR)
    if kept is None:
        total = _PER_MESSAGE + sum(_part_tokens(part) for part in message.parts)
        kept = message.keep_encoding(_FLAVOUR, str(total).encode())
    return int(kept)


def _part_tokens(part: Part) -> int:
    if isinstance(part, ImagePart):
        return _IMAGE_TOKENS
    if isinstance(part, ToolReturnPart) and not isinstance(part.content, str):
        return sum(_part_tokens(inner) for inner in part.content)
    return count_tokens(to_json(part.model_dump(exclude_none=True, exclude_defaults=True)).decode())


class Ledger:
    """What providers report against what was estimated, per model: the factor that makes estimates exact enough."""

    def __init__(self) -> None:
        self._factors: dict[str, float] = {}

    def factor(self, handle: str) -> float:
        """Real tokens per estimated token of this model; 1 until it has reported."""
        return self._factors.get(handle, 1.0)

    def note(self, handle: str, estimated: int, reported: int | None) -> None:
        """A model reported how long a prompt was that had been estimated."""
        if not reported or estimated <= 0:
            return
        seen = min(max(reported / estimated, _LEAST), _MOST)
        before = self._factors.get(handle)
        self._factors[handle] = seen if before is None else before + (seen - before) * _WEIGHT

    def overflowed(self, handle: str, estimated: int, limit: int) -> None:
        """A prompt was refused as too long: it was at least as long as the window."""
        least = limit / max(estimated, 1)
        self._factors[handle] = min(max(self.factor(handle) * 1.2, least), _MOST)

    def tokens(self, handle: str, texts: Iterable[str], messages: Iterable[Message]) -> int:
        """The length of a prompt for this model."""
        return round(self.factor(handle) * estimate(texts, messages))


def estimate(texts: Iterable[str], messages: Iterable[Message]) -> int:
    """The uncorrected length of a prompt."""
    return sum(map(count_tokens, texts)) + sum(map(message_tokens, messages))
