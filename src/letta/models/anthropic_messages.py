"""Encodes messages for Anthropic's messages protocol, once per message, and marks where prompt caches may end.

Knows the wire form of messages; which of them exist, `letta.models.history` decides.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from letta.models import encoding, images, names
from letta.models.history import as_user_parts, repaired
from letta.models.openai_messages import sendable_arguments
from letta.schemas.messages import (
    ImagePart,
    Message,
    OmittedReasoningPart,
    Part,
    ReasoningPart,
    RedactedReasoningPart,
    Role,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
)

CALL_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
CACHE = {"type": "ephemeral"}
_CACHE_END = b',"cache_control":{"type":"ephemeral"}}'
_BEGIN = b'{"type":"text","text":"[The conversation starts earlier.]"}'
_CONTINUE = b'{"type":"text","text":"[Continue.]"}'
_THINKING = (b'{"type":"thinking"', b'{"type":"redacted_thinking"')
_ASSISTANT, _APPROVAL = Role.ASSISTANT, Role.APPROVAL


class Turns:
    """A conversation as turns: `(role, encoded content blocks)`, roles alternating, the user first and last.

    Args:
        provider: the handle's provider; only its own thinking is sent back.
        thinking: False leaves all thinking out.
    """

    def __init__(self, messages: Sequence[Message], provider: str, *, thinking: bool = True) -> None:
        self._provider = provider
        self._flavour = f"anthropic:{provider}:{'t' if thinking else '-'}"
        self._thinking = thinking
        self._turns: list[tuple[str, list[bytes]]] = []
        for message in repaired(messages):
            model_side = message.role is _ASSISTANT or message.role is _APPROVAL
            self._add("assistant" if model_side else "user", self._kept(message))
        if self._turns and self._turns[0][0] == "assistant":
            self._turns.insert(0, ("user", [_BEGIN]))
        if not self._turns or self._turns[-1][0] == "assistant":
            self._add("user", _CONTINUE)

    def _add(self, role: str, blocks: bytes) -> None:
        if not blocks:
            return
        if self._turns and self._turns[-1][0] == role:
            self._turns[-1][1].append(blocks)
        else:
            self._turns.append((role, [blocks]))

    @property
    def resumes_without_thinking(self) -> bool:
        """True when the last turn of the model made calls without thinking first, and their results come now.

        Models that think on a budget refuse to do so in the middle of such a turn.
        """
        if len(self._turns) < 2 or not self._turns[-1][1][0].startswith(b'{"type":"tool_result"'):
            return False
        return not self._turns[-2][1][0].startswith(_THINKING)

    def encoded(self, *, markers: int) -> bytes:
        """What goes between the brackets of `"messages": []`, the last `markers` user turns ending in cache marks."""
        users = [at for at, (role, _) in enumerate(self._turns) if role == "user"]
        marked = set(users[-markers:]) if markers else set()
        return b",".join(
            b'{"role":"%b","content":[%b]}' % (role.encode(), _content(blocks, at in marked))
            for at, (role, blocks) in enumerate(self._turns)
        )

    def _kept(self, message: Message) -> bytes:
        data = message.encoded(self._flavour)
        return message.keep_encoding(self._flavour, self._encode(message)) if data is None else data

    def _encode(self, message: Message) -> bytes:
        if message.role is Role.TOOL:
            return _joined(_result(part) for part in message.tool_returns)
        if message.role is _ASSISTANT or message.role is _APPROVAL:
            return self._assistant(message)
        return _joined(_blocks(as_user_parts(message)))

    def _assistant(self, message: Message) -> bytes:
        own = self._thinking and names.provider_of(message.model) == self._provider
        blocks: list[dict[str, Any]] = []
        speaks = False
        for part in message.parts:
            if isinstance(part, ToolCallPart):
                blocks.append(_call(part))
                speaks = True
            elif isinstance(part, TextPart) and part.text.strip():
                blocks.append({"type": "text", "text": part.text})
                speaks = True
            elif own and (thought := _thought(part)):
                blocks.append(thought)
        return _joined(blocks) if speaks else b""  # thinking alone is not a turn


def _content(blocks: list[bytes], marked: bool) -> bytes:
    data = b",".join(blocks)
    return data[:-1] + _CACHE_END if marked else data


def _thought(part: Part) -> dict[str, Any] | None:
    """Thinking as it came, or None for parts that are no thinking of this protocol."""
    if isinstance(part, ReasoningPart) and part.signature and part.field is None:
        return {"type": "thinking", "thinking": part.reasoning, "signature": part.signature}
    if isinstance(part, OmittedReasoningPart) and part.signature:
        return {"type": "thinking", "thinking": "", "signature": part.signature}
    if isinstance(part, RedactedReasoningPart):
        return {"type": "redacted_thinking", "data": part.data}
    return None


def _call(part: ToolCallPart) -> dict[str, Any]:
    return {
        "type": "tool_use",
        "id": names.call_id(part.id, CALL_ID),
        "name": names.tool_name(part.name),
        "input": orjson.Fragment(sendable_arguments(part)),
    }


def _result(part: ToolReturnPart) -> dict[str, Any]:
    content = part.content if isinstance(part.content, str) else list(_blocks(part.content))
    block = {"type": "tool_result", "tool_use_id": names.call_id(part.tool_call_id, CALL_ID), "content": content}
    return {**block, "is_error": True} if part.status == "error" else block


def _blocks(parts: Iterable[Part]) -> Iterable[dict[str, Any]]:
    for part in parts:
        if isinstance(part, ImagePart):
            yield _image(part)
        elif isinstance(part, TextPart) and part.text.strip():
            yield {"type": "text", "text": part.text}


def _image(part: ImagePart) -> dict[str, Any]:
    if found := images.base64(part):
        media_type, data = found
        return {"type": "image", "source": {"type": "base64", "media_type": media_type, "data": data}}
    url = images.url(part)
    if url is None:
        return {"type": "text", "text": images.MISSING}
    return {"type": "image", "source": {"type": "url", "url": url}}


def _joined(blocks: Iterable[dict[str, Any]]) -> bytes:
    return b",".join(encoding.dumps(block) for block in blocks)
