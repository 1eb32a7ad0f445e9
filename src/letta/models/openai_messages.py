"""Encodes messages for the chat completions protocol, once per message and flavour.

Knows the wire form of one message; the order of messages and what stands between them is `letta.models.history`'s.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from letta.models import encoding, images, names
from letta.models.history import as_user_parts, images_of, repaired, users_merged
from letta.models.openai_quirks import Quirks
from letta.schemas.messages import ImagePart, Message, Part, ReasoningPart, Role, TextPart, ToolCallPart, ToolReturnPart

_TOOL, _ASSISTANT, _APPROVAL = Role.TOOL, Role.ASSISTANT, Role.APPROVAL


class ChatEncoder:
    """Turns conversations into the bytes between the brackets of `"messages": []`.

    Args:
        provider: the handle's provider; only its own reasoning is sent back.
        reasoning: False leaves all reasoning out, for servers that refuse the field.
    """

    def __init__(self, quirks: Quirks, provider: str, *, reasoning: bool = True) -> None:
        self._quirks = quirks
        self._provider = provider
        self._reasoning = reasoning
        self._only_tool_turns = quirks.reasoning_back == "tool_turns"
        self._flavour = f"openai_chat:{provider}:{'r' if reasoning else '-'}"
        self._images = self._flavour + ":images"
        self._tool_turn = self._flavour + ":tool turn"

    def conversation(self, system: str, messages: Sequence[Message]) -> list[bytes]:
        """The encoded messages, the system prompt first."""
        out = [encoding.dumps({"role": "system", "content": system})] if system else []
        waiting: list[bytes] = []
        healthy = repaired(messages)
        if self._quirks.local:
            healthy = users_merged(healthy)
        in_tool_turn = False
        for message in healthy:
            role, flavour = message.role, self._flavour
            if role is _TOOL:
                out.append(self._kept(message, flavour))
                # Images inside results follow after all results: nothing may stand between those.
                if seen := self._kept(message, self._images):
                    waiting.append(seen)
                continue
            if waiting:
                out += waiting
                waiting = []
            if self._only_tool_turns:
                model_side = role is _ASSISTANT or role is _APPROVAL
                in_tool_turn = model_side and (in_tool_turn or bool(message.tool_calls))
                flavour = self._tool_turn if in_tool_turn else flavour
            if data := self._kept(message, flavour):
                out.append(data)
        return out + waiting

    def _kept(self, message: Message, flavour: str) -> bytes:
        data = message.encoded(flavour)
        return message.keep_encoding(flavour, self._encode(message, flavour)) if data is None else data

    def _encode(self, message: Message, flavour: str) -> bytes:
        if flavour is self._images:
            return _joined(self._result_images(message))
        if message.role is _TOOL:
            return _joined(self._result(part) for part in message.tool_returns)
        if message.role is _ASSISTANT or message.role is _APPROVAL:
            return _joined(self._assistant(message, in_tool_turn=flavour is self._tool_turn))
        return _joined(self._user(message))

    def _user(self, message: Message) -> Iterable[dict[str, Any]]:
        as_system = message.role is Role.SYSTEM and not self._quirks.local
        content = _content(message.parts if as_system else as_user_parts(message))
        if content:
            yield {"role": "system" if as_system else "user", "content": content}

    def _result(self, part: ToolReturnPart) -> dict[str, Any]:
        content = part.content
        if not isinstance(content, str):
            texts = [piece.text for piece in content if isinstance(piece, TextPart)]
            seen = len(content) - len(texts)
            content = "\n".join([*texts, f"[{seen} image(s), shown below]"] if seen else texts)
        return {"role": "tool", "tool_call_id": self._id(part.tool_call_id), "content": content}

    def _result_images(self, message: Message) -> Iterable[dict[str, Any]]:
        if found := images_of(message):
            intro = TextPart(text="Images from the tool results above:")
            yield {"role": "user", "content": _content([intro, *found])}

    def _assistant(self, message: Message, *, in_tool_turn: bool) -> Iterable[dict[str, Any]]:
        text = message.text
        calls = [self._call(part, message) for part in message.tool_calls]
        if not (text or calls):
            return
        fields: dict[str, Any] = {"role": "assistant", "content": text or ("" if self._quirks.local else None)}
        fields |= self._thoughts(message, text, in_tool_turn=in_tool_turn)
        if calls:
            fields["tool_calls"] = calls
        yield fields

    def _thoughts(self, message: Message, text: str, *, in_tool_turn: bool) -> dict[str, Any]:
        """The reasoning fields of a message, in the form this provider gave them."""
        if not self._reasoning:
            return {}
        if self._only_tool_turns and not in_tool_turn:
            return {}
        own = names.provider_of(message.model) == self._provider
        found = [part for part in message.parts if isinstance(part, ReasoningPart) and part.field] if own else []
        fields: dict[str, Any] = {"reasoning_content": ""} if self._only_tool_turns else {}
        for part in found:
            if part.field == "thinking":
                thinking = {"type": "thinking", "thinking": [{"type": "text", "text": part.reasoning}]}
                fields["content"] = [thinking, {"type": "text", "text": text}] if text else [thinking]
            elif part.field == "reasoning_details":
                fields["reasoning_details"] = orjson.Fragment(part.signature or "[]")
            elif part.field:
                fields[part.field] = fields.get(part.field, "") + part.reasoning
        return fields

    def _call(self, part: ToolCallPart, message: Message) -> dict[str, Any]:
        call: dict[str, Any] = {
            "id": self._id(part.id),
            "type": "function",
            "function": {"name": names.tool_name(part.name), "arguments": sendable_arguments(part)},
        }
        if part.signature and names.provider_of(message.model) == self._provider:
            call["extra_content"] = orjson.Fragment(part.signature)
        return call

    def _id(self, id_: str) -> str:
        return names.call_id(id_, self._quirks.call_id)


def sendable_arguments(part: ToolCallPart) -> str:
    """The JSON text of an object: what the model wrote, or that text as a value where it is not an object."""
    if part.error is None:
        try:
            if isinstance(orjson.loads(part.arguments), dict):
                return part.arguments
        except orjson.JSONDecodeError:
            pass
    return encoding.dumps({"invalid_json": part.arguments}).decode()


def _content(parts: Sequence[Part]) -> str | list[dict[str, Any]]:
    """Plain text where that is all there is, otherwise a list of text and images."""
    pieces = [
        _piece(part) for part in parts if isinstance(part, ImagePart) or (isinstance(part, TextPart) and part.text)
    ]
    if all(piece["type"] == "text" for piece in pieces):
        return "\n\n".join(piece["text"] for piece in pieces)
    return pieces


def _piece(part: TextPart | ImagePart) -> dict[str, Any]:
    if isinstance(part, TextPart):
        return {"type": "text", "text": part.text}
    url = images.url(part)
    if url is None:
        return {"type": "text", "text": images.MISSING}
    detail = images.detail(part)
    return {"type": "image_url", "image_url": {"url": url, "detail": detail} if detail else {"url": url}}


def _joined(objects: Iterable[dict[str, Any]]) -> bytes:
    return b",".join(encoding.dumps(item) for item in objects)
