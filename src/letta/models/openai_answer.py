"""Reads the chunks of a chat completion stream into deltas and, at the end, the answer.

Knows the chat completions protocol and the habits of servers that speak it; knows nothing about connections.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from letta.models import encoding, names, repair
from letta.models.protocol import Answer, ModelEvent, ReasoningDelta, TextDelta, ToolCallDelta, Usage
from letta.schemas.messages import Part, ReasoningPart, TextPart, ToolCallPart

FinishReason = Literal["stop", "tool_calls", "length", "content_filter", "other"]
_FINISH: dict[str, FinishReason] = {
    "stop": "stop",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "content_filter": "content_filter",
}
_OPEN, _CLOSE = "<think>", "</think>"


@dataclass(slots=True)
class _Call:
    index: int
    id: str
    server_id: str | None = None
    name: str = ""
    signature: str | None = None
    pieces: list[str] = field(default_factory=list)


class ChunkReader:
    """Feed it every chunk in order, then ask for the answer.

    `finish` is the server's word for the end, None before it came; `done` is set by who reads the stream.

    Args:
        renamed: tool names that were changed for the provider, changed name to original.
    """

    def __init__(self, renamed: Mapping[str, str]) -> None:
        self.finish: str | None = None
        self.done = False
        self._renamed = renamed
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._reasoning_field: str | None = None
        self._details: list[dict[str, Any]] = []
        self._calls: list[_Call] = []
        self._by_index: dict[int, _Call] = {}
        self._tags: _ThinkTags | None = _ThinkTags()
        self._usage = Usage()
        self._raw_usage: dict[str, Any] | None = None
        self._id: str | None = None
        self._model = ""
        self._refused = False

    def feed(self, chunk: dict[str, Any]) -> list[ModelEvent]:
        """The events in one chunk: a chunk of a stream, or a whole completion object."""
        if self._id is None:
            self._id, self._model = chunk.get("id") or "", chunk.get("model") or ""
        usage = chunk.get("usage") or (chunk.get("x_groq") or {}).get("usage")
        if usage:
            self._raw_usage, self._usage = usage, _usage(usage)
        choices = chunk.get("choices")
        if not choices:
            return []
        choice = choices[0]
        if choice.get("finish_reason"):
            self.finish = choice["finish_reason"]
        delta = choice.get("delta") or choice.get("message")
        return self._delta(delta) if delta else []

    def _delta(self, delta: dict[str, Any]) -> list[ModelEvent]:
        events: list[ModelEvent] = []
        for name in ("reasoning_content", "reasoning"):
            if isinstance(text := delta.get(name), str) and text:
                events.append(self._think(text, name))
                break
        if details := delta.get("reasoning_details"):
            _merge_details(self._details, details)
        if content := delta.get("content"):
            if isinstance(content, str):
                self._content(content, events)
            else:
                self._chunks(content, events)
        if refusal := delta.get("refusal"):
            self._refused = True
            self._text.append(refusal)
            events.append(TextDelta(refusal))
        calls = delta.get("tool_calls")
        if not calls and (single := delta.get("function_call")):
            calls = [{"index": 0, "function": single}]
        for call in calls or ():
            events.extend(self._call(call))
        return events

    def _think(self, text: str, name: str | None) -> ReasoningDelta:
        if name:
            self._reasoning_field, self._tags = name, None
        self._reasoning.append(text)
        return ReasoningDelta(text)

    def _content(self, content: str, events: list[ModelEvent]) -> None:
        if self._tags is None:
            self._text.append(content)
            events.append(TextDelta(content))
            return
        thought, text, decided = self._tags.feed(content)
        if thought:
            events.append(self._think(thought, None))
        if decided:
            self._tags = None
        if text:
            self._text.append(text)
            events.append(TextDelta(text))

    def _chunks(self, content: Iterable[Any], events: list[ModelEvent]) -> None:
        """Content in typed pieces (Mistral): text, and thinking that holds text in turn."""
        for piece in content:
            if piece.get("type") == "thinking":
                thinking = piece.get("thinking") or ""
                inner = thinking if isinstance(thinking, str) else "".join(part.get("text", "") for part in thinking)
                if inner:
                    events.append(self._think(inner, "thinking"))
            elif text := piece.get("text"):
                self._content(text, events)

    def _call(self, delta: dict[str, Any]) -> Iterable[ModelEvent]:
        function = delta.get("function") or {}
        name, given = function.get("name") or "", function.get("arguments")
        text = given if isinstance(given, str) else "" if given is None else encoding.dumps(given).decode()
        call = self._call_of(delta, name, text)
        if call is None:
            call = self._new_call(delta)
            yield ToolCallDelta(call.index, id=call.id, name=self._name(call, name), arguments=text)
        elif text or (name and not call.name):
            yield ToolCallDelta(call.index, name=None if call.name else self._name(call, name), arguments=text)
        if text:
            call.pieces.append(text)
        if extra := delta.get("extra_content"):  # Google: opaque state that belongs to the call
            call.signature = encoding.dumps(extra).decode()

    def _call_of(self, delta: dict[str, Any], name: str, text: str) -> _Call | None:
        """The call a piece continues. Servers repeat ids, leave out indexes, or send every call with index 0."""
        index, id_ = delta.get("index"), delta.get("id")
        known = self._by_index.get(index) if index is not None else (self._calls[-1] if self._calls else None)
        if known is None or (not name and not id_):
            return known
        if id_ and known.server_id and id_ != known.server_id:
            return None
        if name and known.pieces and text.lstrip().startswith("{"):
            return None if _is_object("".join(known.pieces)) else known
        if index is None and name and known.name:
            return None
        return known

    def _new_call(self, delta: dict[str, Any]) -> _Call:
        id_ = delta.get("id")
        taken = {call.id for call in self._calls}
        call = _Call(len(self._calls), id_ if id_ and id_ not in taken else names.new_call_id(), id_)
        self._calls.append(call)
        if delta.get("index") is not None:
            self._by_index[delta["index"]] = call
        return call

    def _name(self, call: _Call, name: str) -> str | None:
        call.name = self._renamed.get(name, name)
        return call.name or None

    def end(self) -> list[ModelEvent]:
        """What was held back because it could have become a thinking tag."""
        if self._tags is None:
            return []
        thought, text = self._tags.end()
        self._tags = None
        events: list[ModelEvent] = []
        if thought:
            events.append(self._think(thought, None))
        if text:
            self._text.append(text)
            events.append(TextDelta(text))
        return events

    @property
    def is_empty(self) -> bool:
        """True when the model said nothing at all."""
        return not (self._text or self._reasoning or self._calls or self._details)

    def answer(self, request: bytes, model: str, request_id: str | None) -> Answer:
        """The answer put together. `model` is the name asked for, used where the server gave none."""
        finish = _FINISH.get(self.finish or "stop", "other")
        return Answer(
            parts=tuple(self._parts(cut_off=finish == "length")),
            usage=self._usage,
            finish_reason="content_filter" if self._refused else finish,
            model=self._model or model,
            request=request,
            response=self._response(),
            request_id=request_id or self._id or None,
        )

    def _parts(self, *, cut_off: bool) -> Iterable[Part]:
        if self._details:
            details = encoding.dumps(self._details).decode()
            yield ReasoningPart(reasoning="".join(self._reasoning), signature=details, field="reasoning_details")
        elif self._reasoning:
            yield ReasoningPart(reasoning="".join(self._reasoning), field=self._reasoning_field)
        if text := "".join(self._text):
            yield TextPart(text=text)
        for call in self._calls:
            read = repair.arguments("".join(call.pieces), cut_off=cut_off)
            yield ToolCallPart(
                id=call.id, name=call.name, arguments=read.text, error=read.error, signature=call.signature
            )

    def _response(self) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": "".join(self._text) or None}
        if self._reasoning:
            message[self._reasoning_field or "reasoning"] = "".join(self._reasoning)
        if self._details:
            message["reasoning_details"] = self._details
        if self._calls:
            message["tool_calls"] = [
                {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": "".join(call.pieces)}}
                for call in self._calls
            ]
        choice = {"index": 0, "message": message, "finish_reason": self.finish}
        return {"id": self._id, "model": self._model, "choices": [choice], "usage": self._raw_usage}


class _ThinkTags:
    """Finds `<think>...</think>` at the very start of a text that arrives in pieces."""

    def __init__(self) -> None:
        self._held = ""
        self._inside = False

    def feed(self, piece: str) -> tuple[str, str, bool]:
        """Thinking and text in what is known by now, and whether the rest is plain text."""
        self._held += piece
        if not self._inside:
            start = self._held.lstrip()
            if len(start) < len(_OPEN) and _OPEN.startswith(start):
                return "", "", False
            if not start.startswith(_OPEN):
                return "", self._held, True
            self._inside, self._held = True, start[len(_OPEN) :].lstrip("\n")
        thought, closed, rest = self._held.partition(_CLOSE)
        if closed:
            return thought.rstrip("\n"), rest.lstrip("\n"), True
        # The end of the piece may be the start of the closing tag, and of the line breaks before it.
        partial = next((n for n in range(len(_CLOSE) - 1, 0, -1) if thought.endswith(_CLOSE[:n])), 0)
        known = thought[: len(thought) - partial].rstrip("\n")
        self._held = thought[len(known) :]
        return known, "", False

    def end(self) -> tuple[str, str]:
        """What is still held, as thinking and text."""
        return (self._held, "") if self._inside else ("", self._held)


def _is_object(text: str) -> bool:
    try:
        return isinstance(encoding.loads(text.encode()), dict)
    except ValueError:
        return False


def _merge_details(merged: list[dict[str, Any]], pieces: Iterable[dict[str, Any]]) -> None:
    """Join streamed pieces of OpenRouter's reasoning details: text grows, everything else is kept as it came."""
    for piece in pieces:
        last = merged[-1] if merged else None
        if last is None or (last.get("type"), last.get("index")) != (piece.get("type"), piece.get("index")):
            merged.append(dict(piece))
            continue
        for key, value in piece.items():
            if key in ("text", "summary", "data") and isinstance(value, str):
                last[key] = (last.get(key) or "") + value
            elif value is not None:
                last[key] = value


def _usage(usage: dict[str, Any]) -> Usage:
    prompt, completion = usage.get("prompt_tokens"), usage.get("completion_tokens")
    inputs = usage.get("prompt_tokens_details") or {}
    outputs = usage.get("completion_tokens_details") or {}
    total = usage.get("total_tokens")
    if total is None and prompt is not None and completion is not None:
        total = prompt + completion
    cached = inputs.get("cached_tokens")
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        total_tokens=total,
        cached_input_tokens=usage.get("prompt_cache_hit_tokens") if cached is None else cached,
        cache_write_tokens=inputs.get("cache_write_tokens"),
        reasoning_tokens=outputs.get("reasoning_tokens"),
    )
