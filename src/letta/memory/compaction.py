"""Making a long conversation fit: where to cut, and how to put what is cut off into a summary.

Pure decisions, and the model calls that write a summary. What is evicted stays stored; this module does not write.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from letta.errors import ModelError
from letta.memory.tokens import count_tokens, message_tokens
from letta.models.protocol import ModelParameters, ModelRequest, collect
from letta.models.provider import Resolved
from letta.schemas.common import new_id
from letta.schemas.compaction import CompactionMode, CompactionSettings
from letta.schemas.messages import Message, Role, TextPart, ToolReturnPart

log = logging.getLogger(__name__)

TRIGGER_SHARE = 0.9
"""A prompt longer than this share of the window is compacted before it is sent."""
DEFAULT_EVICTED = 0.3
DEFAULT_CLIP = 50_000
_SUMMARY_TOKENS = 1_000
_CHUNK_SHARE = 0.5
_LEAST_TEXT = 400
_CUT = "\n[... {} characters were cut out here ...]\n"

PROMPT = """\
You write the memory of an agent whose conversation has become too long to be shown in full. Summarise the
conversation below so that the agent can go on without the reader noticing a gap. Keep: what the user wants and why,
facts about people and things, decisions and their reasons, promises and open questions, results of tools that still
matter, and exact names, numbers, dates, paths and identifiers. If there is an earlier summary, keep what still holds of
it. Leave out small talk and what was superseded. Write plain text in the language of the conversation, at most {words}
words, nothing else."""


@dataclass(frozen=True, slots=True)
class Cut:
    """What stays: `kept` begins with the message at `position`; `evicted` holds the earlier summary, too."""

    evicted: list[Message]
    kept: list[Message]

    @property
    def position(self) -> int:
        return self.kept[0].position


def choose_cut(
    messages: Sequence[Message], settings: CompactionSettings, *, window: int, fixed: int, factor: float
) -> Cut | None:
    """Where to cut. `window` is the model's, `fixed` what prompt and tools take of it, both in real tokens.

    Sliding: the evicted share grows by tenths from the configured one until the rest fits into what the share leaves.
    The cut is never between a call and its result, and the last message and calls that wait always stay. None when
    there is nothing that could go.
    """
    places = _places(messages)
    if not places:
        return None
    if settings.mode in (CompactionMode.ALL, CompactionMode.SELF_COMPACT_ALL):
        return Cut(list(messages[: places[-1]]), list(messages[places[-1] :]))
    sizes = [message_tokens(message) * factor for message in messages]
    total = sum(sizes)
    wanted = settings.sliding_window_percentage
    share = DEFAULT_EVICTED if wanted is None else wanted
    place = places[-1]
    while share < 1.0:
        place = next((at for at in places if sum(sizes[:at]) >= share * total), places[-1])
        if fixed + _SUMMARY_TOKENS + sum(sizes[place:]) <= (1 - share) * window:
            break
        share += 0.1
    return Cut(list(messages[:place]), list(messages[place:]))


def _places(messages: Sequence[Message]) -> list[int]:
    """The indices a conversation may be cut at: before a person's or the agent's message, not before a result."""
    last = len(messages) - 1
    for index in range(len(messages) - 1, -1, -1):
        if messages[index].role is Role.ASSISTANT:
            # The last answer stays with its results, and with the answers its calls wait for.
            last = index if messages[index].tool_calls else last
            break
    return [
        index
        for index, message in enumerate(messages)
        if 0 < index <= last
        and message.role in (Role.USER, Role.ASSISTANT, Role.SYSTEM)
        and not (index == 1 and messages[0].role is Role.SUMMARY)
        and not (message.data or {}).get("nudge")
    ]


# -- writing the summary -----------------------------------------------------------------------------------------------


async def summarize(resolved: Resolved, evicted: Sequence[Message], settings: CompactionSettings) -> str:
    """Text that stands for `evicted`, written by a model; in pieces when they are too long for it.

    Raises:
        letta.errors.ModelError: the model fails.
    """
    clip = settings.clip_chars or DEFAULT_CLIP
    budget = int(resolved.context_window * _CHUNK_SHARE)
    words = max(60, min(clip // 8, budget // 4, 1_000))
    summary = ""
    for chunk in _chunks(evicted, budget):
        before = f"<earlier_summary>\n{summary}\n</earlier_summary>\n\n" if summary else ""
        text = f"{before}<conversation>\n{chunk}\n</conversation>"
        instruction = settings.prompt or PROMPT.format(words=words)
        summary = (await _ask(resolved, (instruction,), [_note(evicted[0], text)], words))[:clip]
    return summary


async def self_summarize(request: ModelRequest, resolved: Resolved, settings: CompactionSettings) -> str:
    """The same, written by the agent's own model on its own prompt, so that the provider's cache is used.

    Raises:
        letta.errors.ModelError: the model fails, or the conversation is too long for it.
    """
    clip = settings.clip_chars or DEFAULT_CLIP
    words = max(60, min(clip // 8, 1_000))
    instruction = _note(request.messages[0], settings.prompt or PROMPT.format(words=words).replace("below", "above"))
    own = replace(request, messages=[*request.messages, instruction], tool_choice="none")
    answer = await collect(resolved.model.stream(own))
    return _said(answer.parts)[:clip]


def mechanical_summary(evicted: Sequence[Message], clip: int) -> str:
    """What can be said without a model: the earlier summary, and how each turn began."""
    earlier = "\n".join(message.text for message in evicted if message.role is Role.SUMMARY)
    lines = [
        f"{message.role.value}: {message.text.splitlines()[0][:160]}"
        for message in evicted
        if message.role in (Role.USER, Role.ASSISTANT) and message.text.strip()
    ]
    room = max(0, clip - len(earlier) - 200)
    shown = "\n".join(lines)[-room:] if room else ""
    note = f"[{len(evicted)} earlier messages are not shown; no model could summarise them. How they began:]"
    return f"{earlier}\n{note}\n{shown}".strip()[-clip:]


async def _ask(resolved: Resolved, system: tuple[str, ...], messages: list[Message], words: int) -> str:
    request = ModelRequest(
        model=resolved.name,
        handle=resolved.handle,
        system=system,
        messages=messages,
        parameters=ModelParameters(max_output_tokens=min(resolved.max_output_tokens, words * 3)),
    )
    return _said((await collect(resolved.model.stream(request))).parts)


def _said(parts: Sequence[object]) -> str:
    text = "\n".join(part.text for part in parts if isinstance(part, TextPart)).strip()
    if not text:
        raise ModelError("the summary is empty")
    return text


def _note(near: Message, text: str) -> Message:
    return Message(
        id=new_id("message"),
        role=Role.USER,
        parts=[TextPart(text=text)],
        agent_id=near.agent_id,
        conversation_id=near.conversation_id,
        created_at=near.created_at,
    )


def _chunks(messages: Sequence[Message], budget: int) -> Iterator[str]:
    """The conversation as text, in pieces of at most `budget` estimated tokens."""
    piece: list[str] = []
    used = 0
    for message in messages:
        for line in _lines(message, budget):
            size = count_tokens(line)
            if piece and used + size > budget:
                yield "\n".join(piece)
                piece, used = [], 0
            piece.append(line)
            used += size
    if piece:
        yield "\n".join(piece)


def _lines(message: Message, budget: int) -> list[str]:
    said = message.text or " ".join(
        [f"called {call.name}({call.arguments})" for call in message.tool_calls]
        + [f"{result.name or 'tool'} answered: {result.content}" for result in message.tool_returns]
    )
    if message.text and message.tool_calls:
        said += "".join(f" [called {call.name}({call.arguments})]" for call in message.tool_calls)
    when = message.created_at.strftime("%Y-%m-%d %H:%M")
    return [f"[{when}] {message.role.value}: {shortened(said, budget * 2)}"]


# -- the last resort ---------------------------------------------------------------------------------------------------


def shortened(text: str, limit: int) -> str:
    """A text of at most about `limit` characters: its beginning and end, and how much is missing between."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return text[:half] + _CUT.format(len(text) - 2 * half) + text[-half:]


def clamp_returns(message: Message, limit: int) -> Message:
    """The message with every tool result cut to `limit` characters; itself when they are short enough."""
    if message.role is not Role.TOOL or all(len(str(result.content)) <= limit for result in message.tool_returns):
        return message
    return _shortened_copy(message, limit)


def squeeze(messages: Sequence[Message], budget: int, factor: float) -> list[Message]:
    """The messages with their longest texts shortened until all fit into `budget` real tokens, as far as that goes."""
    squeezed = list(messages)
    limit = 64_000
    while limit >= _LEAST_TEXT and sum(map(message_tokens, squeezed)) * factor > budget:
        squeezed = [_shortened_copy(message, limit) for message in squeezed]
        limit //= 2
    if squeezed != list(messages):
        log.warning("texts of %s messages were cut to fit the model's window", len(messages))
    return squeezed


def _shortened_copy(message: Message, limit: int) -> Message:
    parts = [
        part.model_copy(update={"text": shortened(part.text, limit)})
        if isinstance(part, TextPart)
        else part.model_copy(update={"content": shortened(part.content, limit)})
        if isinstance(part, ToolReturnPart) and isinstance(part.content, str)
        else part
        for part in message.parts
    ]
    if parts == message.parts:
        return message
    # A new object, because encodings are kept with the message they were made of.
    return Message.model_construct(**{**dict(message), "parts": parts})
