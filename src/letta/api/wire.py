"""Messages as clients see them: one stored message may show as several, told apart by their `otid`.

Whole messages (`to_wire`) and streamed pieces (`Pieces`) go by the same rule: each run of parts of one kind is one
message, and counts one up. Knows the wire and nothing of where messages come from.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

import orjson
from pydantic_core import from_json

from letta.models.protocol import ReasoningDelta, TextDelta, ToolCallDelta
from letta.runtime.events import Delta
from letta.runtime.styles import REPLY_TOOL, THOUGHTS, as_text
from letta.runtime.transcript import otid
from letta.schemas.messages import (
    ApprovalPart,
    ImagePart,
    Message,
    OmittedReasoningPart,
    Part,
    ReasoningPart,
    RedactedReasoningPart,
    Role,
    SummarizedReasoningPart,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
)

Wire = dict[str, Any]


@dataclass(frozen=True, slots=True)
class WireOptions:
    """How a caller wants messages shown. `types` lists the message types wanted; None means all."""

    use_assistant_message: bool = True
    reply_tool: str = REPLY_TOOL
    reply_argument: str = "message"
    types: frozenset[str] | None = None
    compactions: bool = False

    def wants(self, message: Wire) -> bool:
        return self.types is None or message["message_type"] in self.types


DEFAULT = WireOptions()


def to_wire(message: Message, options: WireOptions = DEFAULT) -> list[Wire]:
    """A stored message in the API's form: none, one or several objects."""
    shown = _shown(message, options)
    numbered = [_common(message, kind, index) | fields for index, (kind, fields) in enumerate(shown)]
    return [wire for wire in numbered if options.wants(wire)]


def all_to_wire(messages: Iterable[Message], options: WireOptions = DEFAULT) -> list[Wire]:
    """Many messages, in order."""
    return [wire for message in messages for wire in to_wire(message, options)]


def moment(value: datetime) -> str:
    """The date of a message: whole seconds, `+00:00`."""
    return value.astimezone(UTC).isoformat(timespec="seconds")


def _common(message: Message, kind: str, index: int) -> Wire:
    own = otid(message.id, index)
    if kind == "approval_request_message":
        own = message.id
    elif message.role in (Role.USER, Role.SYSTEM, Role.APPROVAL) and message.otid:
        own = message.otid
    return {
        "id": message.id,
        "date": moment(message.created_at),
        "name": message.name,
        "message_type": kind,
        "otid": own,
        "sender_id": message.sender_id,
        "step_id": message.step_id,
        "is_err": message.is_err or None,
        "seq_id": None,
        "run_id": message.run_id,
    }


def _shown(message: Message, options: WireOptions) -> Iterator[tuple[str, Wire]]:
    match message.role:
        case Role.SYSTEM:
            yield "system_message", {"content": message.text}
        case Role.USER if (message.data or {}).get("nudge"):
            yield "user_message", {"content": message.text}
        case Role.USER:
            yield "user_message", {"content": _content(message.parts)}
        case Role.SUMMARY if options.compactions:
            yield "event_message", {"event_type": "compaction", "event_data": (message.data or {}).get("stats") or {}}
            yield "summary_message", {"summary": message.text, "compaction_stats": (message.data or {}).get("stats")}
        case Role.SUMMARY:
            yield "user_message", {"content": message.text}
        case Role.TOOL:
            yield from _returns(message, options)
        case Role.APPROVAL:
            yield from _approvals(message)
        case Role.ASSISTANT:
            yield from _assistant(message, options)


def _content(parts: Sequence[Part]) -> str | list[Wire]:
    """Text alone as a string, as it most often came; anything else as parts."""
    if all(isinstance(part, TextPart) for part in parts):
        return "\n".join(part.text for part in parts if isinstance(part, TextPart))
    return [part.model_dump() for part in parts if isinstance(part, TextPart | ImagePart)]


def _assistant(message: Message, options: WireOptions) -> Iterator[tuple[str, Wire]]:
    heartbeat = (message.data or {}).get("style") == "heartbeat"
    for kind, run in groupby(message.parts, key=_kind):
        parts = list(run)
        if kind == "calls":
            calls = [part for part in parts if isinstance(part, ToolCallPart)]
            yield from _heartbeat_calls(calls, options) if heartbeat else _calls(calls)
        elif kind == "text" and heartbeat:
            yield "reasoning_message", _reasoning("".join(_texts(parts)), native=False)
        elif kind == "text":
            yield "assistant_message", {"content": "".join(_texts(parts))}
        elif kind == "reasoning":
            first = parts[-1]
            assert isinstance(first, ReasoningPart)
            yield "reasoning_message", _reasoning("".join(_texts(parts)), first.is_native, first.signature)
        else:
            yield from (_hidden(part) for part in parts)


def _kind(part: Part) -> str:
    match part:
        case TextPart():
            return "text"
        case ReasoningPart():
            return "reasoning"
        case ToolCallPart():
            return "calls"
    return "hidden"


def _texts(parts: Sequence[Part]) -> list[str]:
    return [
        part.text if isinstance(part, TextPart) else part.reasoning
        for part in parts
        if isinstance(part, TextPart | ReasoningPart)
    ]


def _reasoning(text: str, native: bool, signature: str | None = None) -> Wire:
    return {
        "source": "reasoner_model" if native else "non_reasoner_model",
        "reasoning": text,
        "signature": signature,
    }


def _hidden(part: Part) -> tuple[str, Wire]:
    match part:
        case SummarizedReasoningPart() if part.summary:
            return "reasoning_message", _reasoning("\n\n".join(part.summary), native=True)
        case RedactedReasoningPart():
            return "hidden_reasoning_message", {"state": "redacted", "hidden_reasoning": None}
        case OmittedReasoningPart() | SummarizedReasoningPart():
            return "hidden_reasoning_message", {"state": "omitted", "hidden_reasoning": None}
    return "assistant_message", {"content": [part.model_dump()]}


def _calls(calls: Sequence[ToolCallPart]) -> Iterator[tuple[str, Wire]]:
    """The calls of a message; those waiting for an answer from outside are a message of their own."""
    for pending in dict.fromkeys(call.pending for call in calls):
        shown = [
            {"name": call.name, "arguments": call.arguments, "tool_call_id": call.id}
            for call in calls
            if call.pending is pending
        ]
        kind = "approval_request_message" if pending else "tool_call_message"
        yield kind, {"tool_call": shown[0], "tool_calls": shown}


def _heartbeat_calls(calls: Sequence[ToolCallPart], options: WireOptions) -> Iterator[tuple[str, Wire]]:
    """Calls whose arguments also hold the agent's thoughts, and whose reply is the argument of a tool."""
    for call in calls:
        arguments = _object(call.arguments)
        thoughts = arguments.pop(THOUGHTS, None)
        if thoughts:
            yield "reasoning_message", _reasoning(str(thoughts), native=False)
        if options.use_assistant_message and call.name == options.reply_tool:
            yield "assistant_message", {"content": as_text(arguments.get(options.reply_argument, ""))}
            continue
        text = orjson.dumps(arguments).decode() if thoughts is not None else call.arguments
        yield from _calls([call.model_copy(update={"arguments": text})])


def _object(text: str) -> dict[str, Any]:
    try:
        value = orjson.loads(text or "{}")
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def _returns(message: Message, options: WireOptions) -> Iterator[tuple[str, Wire]]:
    results = list(message.tool_returns)
    if (message.data or {}).get("style") == "heartbeat" and options.use_assistant_message:
        results = [result for result in results if result.name != options.reply_tool]
    if not results:
        return
    first = results[0]
    yield (
        "tool_return_message",
        {
            "name": first.name,
            "tool_return": _plain(first),
            "status": first.status,
            "tool_call_id": first.tool_call_id,
            "stdout": list(first.stdout) or None,
            "stderr": list(first.stderr) or None,
            "tool_returns": [_return(result) for result in results],
        },
    )


def _return(result: ToolReturnPart) -> Wire:
    content = result.content
    return {
        "type": "tool",
        "tool_call_id": result.tool_call_id,
        "status": result.status,
        "tool_return": content if isinstance(content, str) else [part.model_dump() for part in content],
        "stdout": list(result.stdout) or None,
        "stderr": list(result.stderr) or None,
    }


def _plain(result: ToolReturnPart) -> str:
    if isinstance(result.content, str):
        return result.content
    return "\n".join(part.text if isinstance(part, TextPart) else "[image]" for part in result.content)


def _approvals(message: Message) -> Iterator[tuple[str, Wire]]:
    answers = [
        part.model_dump() if isinstance(part, ApprovalPart) else _return(part)
        for part in message.parts
        if isinstance(part, ApprovalPart | ToolReturnPart)
    ]
    decided = next((part for part in message.parts if isinstance(part, ApprovalPart)), None)
    yield (
        "approval_response_message",
        {
            "approvals": answers,
            "approve": decided.approve if decided else None,
            "approval_request_id": (message.data or {}).get("request_id"),
            "reason": decided.reason if decided else None,
        },
    )


# -- streamed pieces ---------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Call:
    """A heartbeat agent's call while its arguments arrive: what of it was shown already."""

    id: str
    name: str
    text: str = ""
    shown: dict[str, str] = field(default_factory=dict)


class Pieces:
    """Turns the deltas of one message into frames whose `otid`s are those of the finished message."""

    def __init__(self, run_id: str, options: WireOptions) -> None:
        self._run_id = run_id
        self._options = options
        self._index = -1
        self._kind: tuple[str, Any] | None = None
        self._common: Wire = {}
        self._calls: dict[int, _Call] = {}

    def frames(self, delta: Delta) -> Iterator[Wire]:
        """The frames of one delta: none, one or several."""
        heartbeat, piece = delta.style == "heartbeat", delta.piece
        match piece:
            case TextDelta() if heartbeat:
                yield from self._reasoning(delta, ("text", None), piece.text, native=False)
            case TextDelta():
                yield from self._frame(delta, ("text", None), "assistant_message", {"content": piece.text})
            case ReasoningDelta():
                yield from self._reasoning(delta, ("reasoning", None), piece.text, True, piece.signature)
            case ToolCallDelta() if heartbeat:
                yield from self._heartbeat(delta, piece)
            case ToolCallDelta():
                call_id = self._call_id(piece)
                kind = (
                    "approval_request_message" if self._calls[piece.index].name in delta.held else "tool_call_message"
                )
                call = {"name": piece.name, "arguments": piece.arguments, "tool_call_id": call_id}
                yield from self._frame(delta, ("calls", kind), kind, {"tool_call": call, "tool_calls": call})

    def _call_id(self, piece: ToolCallDelta) -> str:
        if piece.id is not None:
            self._calls[piece.index] = _Call(piece.id, piece.name or "")
        return self._calls[piece.index].id

    def _frame(self, delta: Delta, kind: tuple[str, Any], message_type: str, fields: Wire) -> Iterator[Wire]:
        if kind != self._kind:
            self._kind, self._index = kind, self._index + 1
            # The same in every piece of this message, of which there may be thousands.
            self._common = {
                "id": delta.message_id,
                "date": moment(delta.date),
                "name": None,
                "message_type": message_type,
                "otid": (
                    delta.message_id
                    if message_type == "approval_request_message"
                    else otid(delta.message_id, self._index)
                ),
                "sender_id": None,
                "step_id": delta.step_id,
                "is_err": None,
                "seq_id": None,
                "run_id": self._run_id,
            }
        wire = self._common | fields
        if self._options.wants(wire):
            yield wire

    def _reasoning(
        self, delta: Delta, kind: tuple[str, Any], text: str, native: bool, signature: str | None = None
    ) -> Iterator[Wire]:
        yield from self._frame(delta, kind, "reasoning_message", _reasoning(text, native, signature))

    def _heartbeat(self, delta: Delta, piece: ToolCallDelta) -> Iterator[Wire]:
        """Thoughts and reply are shown as they grow; other calls once their arguments are complete enough."""
        self._call_id(piece)
        call = self._calls[piece.index]
        call.text += piece.arguments
        arguments = _partial(call.text)
        thoughts = arguments.pop(THOUGHTS, None)
        if more := _growth(call, THOUGHTS, thoughts):
            yield from self._reasoning(delta, ("thoughts", call.id), more, native=False)
        if self._options.use_assistant_message and call.name == self._options.reply_tool:
            if more := _growth(call, self._options.reply_argument, arguments.get(self._options.reply_argument)):
                yield from self._frame(delta, ("reply", call.id), "assistant_message", {"content": more})
            return
        if whole := _complete(call.text):
            whole.pop(THOUGHTS, None)
            shown = {"name": call.name, "arguments": orjson.dumps(whole).decode(), "tool_call_id": call.id}
            kind = "approval_request_message" if call.name in delta.held else "tool_call_message"
            yield from self._frame(delta, ("call", call.id), kind, {"tool_call": shown, "tool_calls": shown})


def _partial(text: str) -> dict[str, Any]:
    try:
        value = from_json(text, allow_partial="trailing-strings")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _complete(text: str) -> dict[str, Any] | None:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


def _growth(call: _Call, name: str, value: Any) -> str:
    """What of an argument was not shown yet."""
    if not isinstance(value, str):
        return ""
    before = call.shown.get(name, "")
    call.shown[name] = value
    return value[len(before) :]
