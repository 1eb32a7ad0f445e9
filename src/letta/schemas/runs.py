"""Runs: one request to an agent from start to end. Also the older name for them, jobs. Knows nothing of scheduling."""

from enum import StrEnum
from typing import ClassVar, Literal

from pydantic import Field

from letta.schemas.common import Body, Count, JsonObject, Size, Timestamp, Wire
from letta.schemas.sends import MessageType


class StopReason(StrEnum):
    """Why an agent stopped. `run_status` says how the run ended by it."""

    END_TURN = "end_turn"
    ERROR = "error"
    LLM_API_ERROR = "llm_api_error"
    INVALID_LLM_RESPONSE = "invalid_llm_response"
    INVALID_TOOL_CALL = "invalid_tool_call"
    MAX_STEPS = "max_steps"
    MAX_TOKENS_EXCEEDED = "max_tokens_exceeded"
    NO_TOOL_CALL = "no_tool_call"
    TOOL_RULE = "tool_rule"
    CANCELLED = "cancelled"
    INSUFFICIENT_CREDITS = "insufficient_credits"
    REQUIRES_APPROVAL = "requires_approval"
    CONTEXT_WINDOW_OVERFLOW_IN_SYSTEM_PROMPT = "context_window_overflow_in_system_prompt"

    @property
    def run_status(self) -> "RunStatus":
        """How a run with this reason ended: completed, cancelled or failed."""
        return _STATUS_OF.get(self, RunStatus.FAILED)


class RunStatus(StrEnum):
    """How far a run is."""

    CREATED = "created"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


_STATUS_OF = {
    StopReason.END_TURN: RunStatus.COMPLETED,
    StopReason.MAX_STEPS: RunStatus.COMPLETED,
    StopReason.TOOL_RULE: RunStatus.COMPLETED,
    StopReason.REQUIRES_APPROVAL: RunStatus.COMPLETED,
    StopReason.CANCELLED: RunStatus.CANCELLED,
}


class RequestConfig(Wire):
    """How the request wanted its answer shown."""

    use_assistant_message: bool | None = True
    assistant_message_tool_name: str | None = "send_message"
    assistant_message_tool_kwarg: str | None = "message"
    include_return_message_types: list[MessageType] | None = None


class Run(Wire):
    """A run. The `_ns` fields are nanoseconds; `job_type` and the fields after it are what SDK 0.1.x reads."""

    id: str
    agent_id: str
    conversation_id: str | None = None
    status: RunStatus = RunStatus.CREATED
    stop_reason: StopReason | None = None
    background: bool | None = None
    created_at: Timestamp | None = None
    completed_at: Timestamp | None = None
    metadata: JsonObject | None = None
    request_config: RequestConfig | None = None
    base_template_id: str | None = None
    callback_url: str | None = None
    callback_sent_at: Timestamp | None = None
    callback_status_code: int | None = None
    callback_error: str | None = None
    ttft_ns: int | None = None
    total_duration_ns: int | None = None
    job_type: Literal["job", "run", "batch"] = "run"
    created_by_id: str | None = None
    last_updated_by_id: str | None = None
    updated_at: Timestamp | None = None


class Job(Run):
    """Work that need not belong to an agent, in the words of SDK 0.1.x."""

    agent_id: str | None = None  # type: ignore[assignment]  # a job is a run with less known about it
    job_type: Literal["job", "run", "batch"] = "job"


class PromptTokensDetails(Wire):
    """Tokens read: from the provider's cache (both names), and written to it."""

    cached_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_creation_tokens: int | None = None


class CompletionTokensDetails(Wire):
    """Tokens written: those of reasoning."""

    reasoning_tokens: int | None = None


class RunUsage(Wire):
    """Tokens of a whole run. Details are null where the provider said nothing about them."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    prompt_tokens_details: PromptTokensDetails | None = None
    completion_tokens_details: CompletionTokensDetails | None = None


class FollowStream(Body):
    """Which events of a run to send: those after number `starting_after`, then new ones as they come.

    The run is that of the path, or in a conversation `run_id`, else the one begun with `otid`, else the newest active
    one. `poll_interval` is in seconds; it and `batch_size` are hints.
    """

    never_null: ClassVar[frozenset[str]] = frozenset({"starting_after", "include_pings", "poll_interval", "batch_size"})

    starting_after: Count = 0
    include_pings: bool = True
    poll_interval: float = Field(default=0.1, gt=0, le=60)
    batch_size: Size = 100
    run_id: str | None = None
    otid: str | None = None
    agent_id: str | None = None


class CancelRuns(Body):
    """Which runs to cancel; all active ones if none are named. `agent_id` is for the conversation `default`."""

    run_ids: list[str] | None = None
    agent_id: str | None = None
