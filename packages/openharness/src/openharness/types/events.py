"""What an execution says while it runs. Pure data.

The order an adapter keeps: text and thinking in the order of the model; for each tool call `tool_call_start`, then any
`tool_call_delta`, then `tool_result`, then `tool_call_end`, all with the id of the call; calls made in parallel may
interleave; one `done` or one `error`, last.
"""

from typing import Any, Literal

from pydantic import BaseModel, Field

from openharness.types.common import UsageStats


class TextEvent(BaseModel):
    """A piece of the agent's reply, never empty."""

    type: Literal["text"] = "text"
    content: str


class ThinkingEvent(BaseModel):
    """A piece of the agent's reasoning."""

    type: Literal["thinking"] = "thinking"
    thinking: str


class ToolCallStartEvent(BaseModel):
    """The agent calls the tool `name`."""

    type: Literal["tool_call_start"] = "tool_call_start"
    id: str
    name: str
    input: dict[str, Any] = Field(default_factory=dict)


class ToolCallDeltaEvent(BaseModel):
    """More of a call's input."""

    type: Literal["tool_call_delta"] = "tool_call_delta"
    id: str
    input_delta: dict[str, Any]


class ToolCallEndEvent(BaseModel):
    """Nothing more follows about this call."""

    type: Literal["tool_call_end"] = "tool_call_end"
    id: str


class ToolResultEvent(BaseModel):
    """What a call gave: `output` if it succeeded, `error` if not."""

    type: Literal["tool_result"] = "tool_result"
    id: str
    success: bool
    output: Any | None = None
    error: str | None = None


class ProgressEvent(BaseModel):
    """How far a step has come, in percent."""

    type: Literal["progress"] = "progress"
    percentage: float = Field(ge=0, le=100)
    step: str | None = None
    step_number: int | None = None
    total_steps: int | None = None


class ErrorEvent(BaseModel):
    """The execution failed. Nothing follows."""

    type: Literal["error"] = "error"
    code: str
    message: str
    recoverable: bool = False


class DoneEvent(BaseModel):
    """The execution ended. Nothing follows."""

    type: Literal["done"] = "done"
    usage: UsageStats | None = None


class ArtifactEvent(BaseModel):
    """A file the execution made."""

    type: Literal["artifact"] = "artifact"
    id: str
    name: str
    content_type: str
    content: str | bytes


class ToolStreamStartEvent(BaseModel):
    """A streamed tool invocation begins."""

    type: Literal["tool_stream_start"] = "tool_stream_start"
    tool_id: str
    tool_name: str


class ToolStreamDataEvent(BaseModel):
    """A piece of a streamed tool invocation's output."""

    type: Literal["tool_stream_data"] = "tool_stream_data"
    tool_id: str
    data: Any


class ToolStreamEndEvent(BaseModel):
    """A streamed tool invocation ended."""

    type: Literal["tool_stream_end"] = "tool_stream_end"
    tool_id: str
    success: bool
    error: str | None = None


ExecutionEvent = (
    TextEvent
    | ThinkingEvent
    | ToolCallStartEvent
    | ToolCallDeltaEvent
    | ToolCallEndEvent
    | ToolResultEvent
    | ProgressEvent
    | ErrorEvent
    | DoneEvent
    | ArtifactEvent
)

ToolStreamEvent = ToolStreamStartEvent | ToolStreamDataEvent | ToolStreamEndEvent
