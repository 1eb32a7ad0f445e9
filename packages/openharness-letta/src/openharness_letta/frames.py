"""From the frames of a Letta event stream to OpenHarness events.

Pure: reads one frame after another and answers events. Knows neither how frames arrive nor how an approval is answered.
Works on whole messages and on token deltas alike.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from openharness.types import (
    ExecutionEvent,
    ProgressEvent,
    TextEvent,
    ThinkingEvent,
    ToolCallEndEvent,
    ToolCallStartEvent,
    ToolResultEvent,
    UsageStats,
)
from openharness_letta.errors import RunFailed, run_error

Frame = dict[str, Any]
Events = list[ExecutionEvent]


@dataclass
class Call:
    """One tool call as far as it is known. `input` is `None` until the arguments are complete."""

    id: str
    name: str = ""
    arguments: str = ""
    input: dict[str, Any] | None = None
    waiting: bool = False
    ended: bool = False
    output: Any = None
    error: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The call as `AdapterExecutionResult.tool_calls` holds it."""
        call = {"id": self.id, "name": self.name, "input": self.input or {}}
        if self.error is not None:
            return {**call, "error": self.error}
        return {**call, "output": self.output} if self.ended else call


class FrameReader:
    """Reads the frames of one run, which may span several streams.

    `said` holds what was said so far, as (kind, text) per message with kind `text` or `thinking`; `stop_reason` and
    `run_id` are those of the last stream; `usage` counts all of them.
    """

    def __init__(self, calls: Iterable[Call] = ()) -> None:
        self.calls = {call.id: call for call in calls}
        self.said: list[tuple[str, str]] = []
        self.summaries: list[str] = []
        self.stop_reason: str | None = None
        self.run_id: str | None = None
        self.usage = UsageStats(input_tokens=0, output_tokens=0, total_tokens=0)
        self._latest: dict[str, tuple[str, int]] = {}
        self._call_of_message: dict[str, str] = {}

    @property
    def output(self) -> str:
        """Everything the agent said, one message per line."""
        return "\n".join(text for kind, text in self.said if kind == "text")

    @property
    def waiting(self) -> list[Call]:
        """The calls the server wants an answer for."""
        return [call for call in self.calls.values() if call.waiting and not call.ended]

    def read(self, frame: Frame) -> Events:
        """The events of one frame.

        Raises:
            RunFailed: the frame reports an error of the run.
        """
        kind = str(frame.get("message_type"))
        self.run_id = frame.get("run_id") or self.run_id
        if kind in ("tool_call_message", "approval_request_message"):
            return self._called(frame, waiting=kind == "approval_request_message")
        # Whatever comes after the deltas of a call, the call is complete.
        events = [] if kind == "ping" else self.settle()
        read = _READERS.get(kind)
        return events + read(self, frame) if read else events

    def settle(self) -> Events:
        """Start the calls whose arguments can no longer grow."""
        return [event for call in self.calls.values() if call.input is None for event in self._started(call, last=True)]

    def end(self, call_id: str, *, output: Any = None, error: str | None = None) -> Events:
        """A call has its result, or its error."""
        call = self.calls.setdefault(call_id, Call(call_id, "unknown"))
        if call.ended:
            return []
        started = self._started(call, last=True) if call.input is None else []
        call.ended, call.output, call.error = True, output, error
        result = ToolResultEvent(id=call.id, success=error is None, output=output, error=error)
        return [*started, result, ToolCallEndEvent(id=call.id)]

    def end_all(self, error: str) -> Events:
        """No more is coming: calls without a result end with `error`."""
        unfinished = [call.id for call in self.calls.values() if not call.ended]
        return [event for call_id in unfinished for event in self.end(call_id, error=error)]

    def _spoke(self, kind: str, frame: Frame, text: str) -> str:
        """Keep what was said; answers what continues `output`, which parts messages with a line break."""
        if not text:
            return ""
        message = str(frame.get("otid") or frame.get("id"))
        earlier, place = self._latest.get(kind, (None, 0))
        if message == earlier:
            self.said[place] = (kind, self.said[place][1] + text)
            return text
        self._latest[kind] = (message, len(self.said))
        self.said.append((kind, text))
        return f"\n{text}" if earlier is not None and kind == "text" else text

    def _text(self, frame: Frame) -> Events:
        text = self._spoke("text", frame, plain_text(frame.get("content")))
        return [TextEvent(content=text)] if text else []

    def _thinking(self, frame: Frame) -> Events:
        text = self._spoke("thinking", frame, frame.get("reasoning") or frame.get("hidden_reasoning") or "")
        return [ThinkingEvent(thinking=text)] if text else []

    def _called(self, frame: Frame, *, waiting: bool) -> Events:
        events: Events = []
        message = str(frame.get("otid") or frame.get("id"))
        for part in _call_parts(frame):
            call_id = part.get("tool_call_id") or self._call_of_message.get(message) or message
            self._call_of_message[message] = call_id
            call = self.calls.setdefault(call_id, Call(call_id))
            call.waiting = call.waiting or waiting
            if call.input is None:
                call.name = call.name or part.get("name") or ""
                call.arguments += part.get("arguments") or ""
                events += self._started(call, last=False)
        return events

    def _started(self, call: Call, *, last: bool) -> Events:
        """Start the call if its arguments are complete, or if they are the last there will be."""
        parsed = _parsed_object(call.arguments)
        if parsed is None and last:
            parsed = {"_raw": call.arguments} if call.arguments.strip() else {}
        if parsed is None or not (call.name or last):
            return []
        call.input = parsed
        call.name = call.name or "unknown"
        return [ToolCallStartEvent(id=call.id, name=call.name, input=parsed)]

    def _returned(self, frame: Frame) -> Events:
        events: Events = []
        for part in frame.get("tool_returns") or [frame]:
            call_id = str(part.get("tool_call_id") or frame.get("id"))
            if call_id not in self.calls:
                self.calls[call_id] = Call(call_id, frame.get("name") or "unknown")
            returned = plain_text(part.get("tool_return"))
            if part.get("status") == "error":
                events += self.end(call_id, error=returned or "\n".join(part.get("stderr") or []) or "the tool failed")
            else:
                events += self.end(call_id, output=returned)
        return events

    def _compaction_began(self, frame: Frame) -> Events:
        compaction = frame.get("event_type") == "compaction"
        return [ProgressEvent(percentage=0.0, step="compacting the context")] if compaction else []

    def _summarised(self, frame: Frame) -> Events:
        self.summaries.append(plain_text(frame.get("summary")))
        return [ProgressEvent(percentage=100.0, step="context compacted")]

    def _stopped(self, frame: Frame) -> Events:
        self.stop_reason = frame.get("stop_reason")
        return []

    def _used(self, frame: Frame) -> Events:
        sent, made = frame.get("prompt_tokens") or 0, frame.get("completion_tokens") or 0
        self.usage.input_tokens += sent
        self.usage.output_tokens += made
        self.usage.total_tokens += frame.get("total_tokens") or sent + made
        return []

    def _failed(self, frame: Frame) -> Events:
        raise RunFailed(run_error(frame), self.stop_reason)


_READERS = {
    "assistant_message": FrameReader._text,
    "reasoning_message": FrameReader._thinking,
    "hidden_reasoning_message": FrameReader._thinking,
    "tool_return_message": FrameReader._returned,
    "event_message": FrameReader._compaction_began,
    "summary_message": FrameReader._summarised,
    "stop_reason": FrameReader._stopped,
    "usage_statistics": FrameReader._used,
    "error_message": FrameReader._failed,
}


def plain_text(content: Any) -> str:
    """A text, or the text parts of a content list."""
    if isinstance(content, list):
        return "".join(str(part.get("text") or "") for part in content if isinstance(part, dict))
    return "" if content is None else str(content)


def _call_parts(frame: Frame) -> list[Frame]:
    """The calls of a frame: a list of whole ones, or the delta of one."""
    calls = frame.get("tool_calls") or frame.get("tool_call") or []
    return calls if isinstance(calls, list) else [calls]


def _parsed_object(arguments: str) -> dict[str, Any] | None:
    try:
        parsed = json.loads(arguments)
    except ValueError:
        return None
    return parsed if isinstance(parsed, dict) else None
