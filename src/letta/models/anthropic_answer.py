"""Reads the events of Anthropic's message stream into deltas and, at the end, the answer.

Knows the messages protocol; knows nothing about connections.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from letta.models import encoding, repair
from letta.models.protocol import Answer, ModelEvent, ReasoningDelta, TextDelta, ToolCallDelta, Usage
from letta.schemas.messages import (
    OmittedReasoningPart,
    Part,
    ReasoningPart,
    RedactedReasoningPart,
    TextPart,
    ToolCallPart,
)

_FINISH: dict[str, Literal["stop", "tool_calls", "length", "content_filter", "other"]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content_filter",
}


@dataclass(slots=True)
class _Block:
    kind: str
    start: dict[str, Any]
    call: int = -1
    name: str = ""
    signature: str = ""
    pieces: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(self.pieces)


class EventReader:
    """Feed it every event in order, then ask for the answer.

    `stop` is the provider's stop reason, None before it came; `done` is true after the last event.

    Args:
        renamed: tool names that were changed for the provider, changed name to original.
    """

    def __init__(self, renamed: Mapping[str, str]) -> None:
        self.stop: str | None = None
        self.done = False
        self._renamed = renamed
        self._blocks: dict[int, _Block] = {}
        self._calls = 0
        self._usage: dict[str, Any] = {}
        self._message: dict[str, Any] = {}

    def feed(self, event: dict[str, Any]) -> list[ModelEvent]:
        """The deltas in one event."""
        match event.get("type"):
            case "content_block_delta":
                return self._delta(self._blocks[event["index"]], event["delta"])
            case "content_block_start":
                return self._start(event["index"], event["content_block"])
            case "message_start":
                self._message = event["message"]
                self._usage.update(self._message.get("usage") or {})
            case "message_delta":
                self.stop = event["delta"].get("stop_reason") or self.stop
                self._usage.update(
                    {key: value for key, value in (event.get("usage") or {}).items() if value is not None}
                )
            case "message_stop":
                self.done = True
        return []

    def whole(self, message: dict[str, Any]) -> list[ModelEvent]:
        """The deltas of an answer that came as one object."""
        self._message, self.stop, self.done = message, message.get("stop_reason"), True
        self._usage.update(message.get("usage") or {})
        events: list[ModelEvent] = []
        for index, content in enumerate(message.get("content") or []):
            events.extend(self._start(index, content))
        return events

    def _start(self, index: int, content: dict[str, Any]) -> list[ModelEvent]:
        block = self._blocks[index] = _Block(content.get("type", ""), content)
        match block.kind:
            case "text":
                return self._delta(block, {"type": "text_delta", "text": content.get("text") or ""})
            case "thinking":
                thinking = {"type": "thinking_delta", "thinking": content.get("thinking") or ""}
                signature = {"type": "signature_delta", "signature": content.get("signature") or ""}
                return [*self._delta(block, thinking), *self._delta(block, signature)]
            case "tool_use":
                block.name = self._renamed.get(content["name"], content["name"])
                block.call, self._calls = self._calls, self._calls + 1
                given = encoding.dumps(content["input"]).decode() if content.get("input") else ""
                block.pieces.append(given)
                return [ToolCallDelta(block.call, id=content["id"], name=block.name, arguments=given)]
        return []

    def _delta(self, block: _Block, delta: dict[str, Any]) -> list[ModelEvent]:
        match delta.get("type"):
            case "text_delta":
                return self._grown(block, delta["text"], TextDelta)
            case "thinking_delta":
                return self._grown(block, delta["thinking"], ReasoningDelta)
            case "input_json_delta":
                text = delta["partial_json"]
                block.pieces.append(text)
                return [ToolCallDelta(block.call, arguments=text)] if text else []
            case "signature_delta":
                block.signature += delta["signature"]
                return [ReasoningDelta("", signature=delta["signature"])] if delta["signature"] else []
        return []

    @staticmethod
    def _grown(block: _Block, text: str, kind: type[TextDelta] | type[ReasoningDelta]) -> list[ModelEvent]:
        if not text:
            return []
        block.pieces.append(text)
        return [kind(text)]

    def answer(self, request: bytes, model: str, request_id: str | None) -> Answer:
        """The answer put together. `model` is the name asked for, used where the server gave none."""
        finish = _FINISH.get(self.stop or "end_turn", "other")
        return Answer(
            parts=tuple(self.parts()),
            usage=_usage(self._usage),
            finish_reason=finish,
            model=self._message.get("model") or model,
            request=request,
            response=self._response(),
            request_id=request_id or self._message.get("id"),
        )

    def parts(self) -> Iterable[Part]:
        """What the model said, in its order."""
        for _, block in sorted(self._blocks.items()):
            match block.kind:
                case "text" if block.text:
                    yield TextPart(text=block.text)
                case "thinking" if block.text:
                    yield ReasoningPart(reasoning=block.text, signature=block.signature or None)
                case "thinking" if block.signature:
                    yield OmittedReasoningPart(signature=block.signature)
                case "redacted_thinking":
                    yield RedactedReasoningPart(data=block.start.get("data") or "")
                case "tool_use":
                    read = repair.arguments(block.text, cut_off=self.stop == "max_tokens")
                    yield ToolCallPart(id=block.start["id"], name=block.name, arguments=read.text, error=read.error)

    def _response(self) -> dict[str, Any]:
        content = [_whole(block) for _, block in sorted(self._blocks.items())]
        return {**self._message, "content": content, "stop_reason": self.stop, "usage": self._usage}


def _whole(block: _Block) -> dict[str, Any]:
    match block.kind:
        case "text":
            return {"type": "text", "text": block.text}
        case "thinking":
            return {"type": "thinking", "thinking": block.text, "signature": block.signature}
        case "tool_use":
            try:
                read = encoding.loads(block.text.encode() or b"{}")
            except ValueError:
                read = block.text
            return {"type": "tool_use", "id": block.start["id"], "name": block.start["name"], "input": read}
    return block.start


def _usage(usage: dict[str, Any]) -> Usage:
    read, written = usage.get("cache_read_input_tokens"), usage.get("cache_creation_input_tokens")
    fresh, completion = usage.get("input_tokens"), usage.get("output_tokens")
    prompt = None if fresh is None else fresh + (read or 0) + (written or 0)
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        total_tokens=None if prompt is None or completion is None else prompt + completion,
        cached_input_tokens=read,
        cache_write_tokens=written,
        reasoning_tokens=(usage.get("output_tokens_details") or {}).get("thinking_tokens"),
    )
