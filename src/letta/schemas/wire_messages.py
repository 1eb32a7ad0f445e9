"""Messages, streams and answers in the form clients see them: what the API description says about them.

`letta.api.wire` builds these objects as plain dictionaries, because they are on the hot path; tests compare the two.
The `Message` union is what lists and JSON answers hold, `Frame` what a stream carries besides. Every key is present.
"""

from typing import Annotated, Any, Literal, get_args

from pydantic import Field

from letta.schemas.common import JsonObject, Timestamp, Wire
from letta.schemas.messages import ImagePart, TextPart
from letta.schemas.runs import StopReason

Content = str | list[Annotated[TextPart | ImagePart, Field(discriminator="type")]]


class ToolCall(Wire):
    """A whole call; `arguments` is the JSON text of an object."""

    name: str
    arguments: str
    tool_call_id: str


class ToolCallDelta(Wire):
    """A piece of a call in a stream of tokens: `arguments` is an increment, a null means "no change"."""

    name: str | None
    arguments: str | None
    tool_call_id: str | None


class ToolReturn(Wire):
    """What one tool answered."""

    type: Literal["tool"]
    tool_call_id: str
    status: Literal["success", "error"]
    tool_return: Content
    stdout: list[str] | None
    stderr: list[str] | None


class ApprovalReturn(Wire):
    """A person's answer to one pending call."""

    type: Literal["approval"]
    tool_call_id: str
    approve: bool
    reason: str | None


class _Common(Wire):
    """One stored message may show as several with the same `id`, told apart by `otid`.

    `is_err` is null unless true. `seq_id` counts the frames of a background stream and is null elsewhere.
    """

    id: str
    date: Timestamp
    name: str | None
    otid: str | None
    sender_id: str | None
    step_id: str | None
    is_err: bool | None
    seq_id: int | None
    run_id: str | None


class SystemMessage(_Common):
    """The compiled system prompt, or what a client said as the system."""

    message_type: Literal["system_message"]
    content: str


class UserMessage(_Common):
    """What a person said. Also shows a summary of older messages, where those were not asked for."""

    message_type: Literal["user_message"]
    content: Content


class ReasoningMessage(_Common):
    """What the agent thought: by itself (`reasoner_model`) or because a prompt asked for it."""

    message_type: Literal["reasoning_message"]
    source: Literal["reasoner_model", "non_reasoner_model"]
    reasoning: str
    signature: str | None


class HiddenReasoningMessage(_Common):
    """The agent thought, and the provider does not show what."""

    message_type: Literal["hidden_reasoning_message"]
    state: Literal["redacted", "omitted"]
    hidden_reasoning: str | None


class ToolCallMessage(_Common):
    """Calls of tools. `tool_call` is the first; in a stream of tokens both fields are one piece of a call."""

    message_type: Literal["tool_call_message"]
    tool_call: Annotated[ToolCall | ToolCallDelta, Field(deprecated=True)]
    tool_calls: list[ToolCall] | ToolCallDelta | None


class ToolReturnMessage(_Common):
    """What tools answered. The fields beside `tool_returns` are those of the first."""

    message_type: Literal["tool_return_message"]
    tool_return: Annotated[str, Field(deprecated=True)]
    status: Annotated[Literal["success", "error"], Field(deprecated=True)]
    tool_call_id: Annotated[str, Field(deprecated=True)]
    stdout: Annotated[list[str] | None, Field(deprecated=True)]
    stderr: Annotated[list[str] | None, Field(deprecated=True)]
    tool_returns: list[ToolReturn] | None


class AssistantMessage(_Common):
    """What the agent said to the person."""

    message_type: Literal["assistant_message"]
    content: str | list[TextPart]


class ApprovalRequestMessage(_Common):
    """Calls that wait for a person's approval, or for the client to run them."""

    message_type: Literal["approval_request_message"]
    tool_call: Annotated[ToolCall | ToolCallDelta, Field(deprecated=True)]
    tool_calls: list[ToolCall] | ToolCallDelta | None


class ApprovalResponseMessage(_Common):
    """Answers to pending calls. The fields beside `approvals` are the older form of one answer."""

    message_type: Literal["approval_response_message"]
    approvals: list[Annotated[ApprovalReturn | ToolReturn, Field(discriminator="type")]] | None
    approve: Annotated[bool | None, Field(deprecated=True)]
    approval_request_id: Annotated[str | None, Field(deprecated=True)]
    reason: Annotated[str | None, Field(deprecated=True)]


class CompactionStats(Wire):
    """What a compaction did, in tokens and messages."""

    trigger: str
    context_tokens_before: int | None
    context_tokens_after: int | None
    context_window: int
    messages_count_before: int
    messages_count_after: int


class SummaryMessage(_Common):
    """A summary that stands for older messages; only with `include_compaction_messages`."""

    message_type: Literal["summary_message"]
    summary: str
    compaction_stats: CompactionStats | None


class EventMessage(_Common):
    """Something the server did to the conversation; only with `include_compaction_messages`."""

    message_type: Literal["event_message"]
    event_type: Literal["compaction"]
    event_data: JsonObject


Message = Annotated[
    SystemMessage
    | UserMessage
    | ReasoningMessage
    | HiddenReasoningMessage
    | ToolCallMessage
    | ToolReturnMessage
    | AssistantMessage
    | ApprovalRequestMessage
    | ApprovalResponseMessage
    | SummaryMessage
    | EventMessage,
    Field(discriminator="message_type"),
]


class Ping(_Common):
    """A keep-alive; the first carries the run's id before anything else does."""

    message_type: Literal["ping"]


class ErrorMessage(Wire):
    """Why a stream ended without an answer. Its frame is the only one with an `event:` line, `event: error`."""

    message_type: Literal["error_message"]
    run_id: str
    error_type: str
    message: str
    detail: str | None
    seq_id: int | None


class StopReasonMessage(Wire):
    """Why the agent stopped."""

    message_type: Literal["stop_reason"]
    stop_reason: StopReason


class UsageStatistics(Wire):
    """Tokens of all model calls of a run. Null where the provider said nothing, 0 where it said zero."""

    message_type: Literal["usage_statistics"]
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    step_count: int
    run_ids: list[str] | None
    cached_input_tokens: int | None
    cache_write_tokens: int | None
    reasoning_tokens: int | None
    context_tokens: int | None


Frame = Annotated[
    SystemMessage
    | UserMessage
    | ReasoningMessage
    | HiddenReasoningMessage
    | ToolCallMessage
    | ToolReturnMessage
    | AssistantMessage
    | ApprovalRequestMessage
    | ApprovalResponseMessage
    | SummaryMessage
    | EventMessage
    | Ping
    | ErrorMessage
    | StopReasonMessage
    | UsageStatistics,
    Field(discriminator="message_type"),
]
"""The `data:` of one server-sent event. The last one is the text `[DONE]`."""

FRAMES: tuple[type[Wire], ...] = get_args(get_args(Frame)[0])
"""The models of all frames."""


class LettaResponse(Wire):
    """The whole answer to a request: what the agent said and did, in order, without what was sent to it.

    `logprobs` and `turns` are null: no provider of this server gives them.
    """

    messages: list[Message]
    stop_reason: StopReasonMessage
    usage: UsageStatistics
    logprobs: JsonObject | None
    turns: list[dict[str, Any]] | None
