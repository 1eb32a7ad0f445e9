"""How an agent's answer looks in a terminal: text as it is written, thoughts dim, one line for a tool call and its
result. Knows the frames of a stream and nothing of where they come from."""

import json
from collections.abc import Iterable

from letta_client.types.agents.letta_streaming_response import LettaStreamingResponse
from rich.console import Console
from rich.text import Text

_LONGEST = 160
"""Characters shown of a tool's arguments or result."""

_ENDS = {
    "max_steps": "The agent stopped: it used up its steps. Write again to let it go on.",
    "cancelled": "Stopped.",
}


class Transcript:
    """Prints one answer, piece by piece; with calls that a person has to allow, an answer has several parts."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._kind = ""
        self._calls: dict[str, list[str]] = {}
        self._held: list[str] = []

    @property
    def waiting(self) -> dict[str, str]:
        """The calls that wait for a person since the last part, as `name(arguments)`, by their ids."""
        return {call_id: _call(*self._calls[call_id]) for call_id in self._held}

    def hold(self, call_id: str, name: str, arguments: str) -> None:
        """Take note of a call that has been waiting since before."""
        self._calls[call_id] = [name, arguments]
        self._held.append(call_id)

    def show(self, frames: Iterable[LettaStreamingResponse]) -> None:
        """Print one part to its end. Raises letta_client.APIError for one that ends with an error."""
        self._held = []
        try:
            for frame in frames:
                self._frame(frame)
        finally:
            self._begin("")

    def _frame(self, frame: LettaStreamingResponse) -> None:
        match frame.message_type:
            case "reasoning_message":
                self._write("reasoning", Text(frame.reasoning, style="dim italic"))
            case "assistant_message":
                self._write("text", Text(_text(frame.content)))
            case "tool_call_message" | "approval_request_message":
                self._collect(frame.tool_call.tool_call_id, frame.tool_call.name, frame.tool_call.arguments)
                if frame.message_type == "approval_request_message" and frame.tool_call.tool_call_id not in self._held:
                    self._held.append(frame.tool_call.tool_call_id or "")
            case "tool_return_message":
                for one in frame.tool_returns or ():
                    self._returned(one.tool_call_id, _text(one.tool_return), one.status == "error")
            case "stop_reason" if frame.stop_reason in _ENDS:
                self._line(Text(_ENDS[frame.stop_reason], style="yellow"))
            case _:
                pass

    def _write(self, kind: str, text: Text) -> None:
        if self._kind != kind:
            self._begin(kind)
        self._console.print(text, end="", soft_wrap=True)

    def _begin(self, kind: str) -> None:
        if self._kind:
            self._console.print()
        self._kind = kind

    def _collect(self, call_id: str | None, name: str | None, arguments: str | None) -> None:
        """Calls come in pieces, so they are shown with their result."""
        call = self._calls.setdefault(call_id or "", ["", ""])
        call[0] = name or call[0]
        call[1] += arguments or ""

    def _returned(self, call_id: str | None, result: str, failed: bool) -> None:
        name, arguments = self._calls.pop(call_id or "", ["tool", ""])
        self._held = [held for held in self._held if held != call_id]
        line = Text(_call(name, arguments), style="cyan")
        line.append(f" → {_short(result)}", style="red" if failed else "dim")
        self._line(line)

    def _line(self, text: Text) -> None:
        self._begin("")
        self._console.print(text, soft_wrap=True)


def _call(name: str, arguments: str) -> str:
    return f"{name}({_arguments(arguments)})"


def _arguments(raw: str) -> str:
    try:
        values = json.loads(raw)
        return _short(", ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in values.items()))
    except (ValueError, AttributeError):
        return _short(raw)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"


def _text(content: object) -> str:
    if isinstance(content, str):
        return content
    return "".join(str(getattr(part, "text", "")) for part in content) if isinstance(content, list) else ""
