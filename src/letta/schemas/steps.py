"""Steps: one model call and the tool calls it asked for, with its numbers and its trace."""

from enum import StrEnum
from typing import Literal

from letta.schemas.common import Body, JsonObject, Timestamp, Wire
from letta.schemas.runs import StopReason


class StepStatus(StrEnum):
    """How a step ended."""

    PENDING = "pending"
    SUCCESS = "success"
    FAILED = "failed"
    CANCELLED = "cancelled"


Feedback = Literal["positive", "negative"]


class Step(Wire):
    """A step. Token counts are null where the provider said nothing; `messages` is empty and kept for old clients."""

    id: str
    run_id: str | None = None
    job_id: str | None = None
    agent_id: str | None = None
    origin: str | None = None
    status: StepStatus | None = StepStatus.PENDING
    stop_reason: StopReason | None = None
    provider_id: str | None = None
    provider_name: str | None = None
    provider_category: str | None = None
    model: str | None = None
    model_handle: str | None = None
    model_endpoint: str | None = None
    context_window_limit: int | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    cached_input_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    prompt_tokens_details: JsonObject | None = None
    completion_tokens_details: JsonObject | None = None
    messages: list[JsonObject] | None = None
    tags: list[str] | None = None
    feedback: Feedback | None = None
    tid: str | None = None
    trace_id: str | None = None
    request_id: str | None = None
    error_type: str | None = None
    error_data: JsonObject | None = None
    project_id: str | None = None
    created_at: Timestamp | None = None


class StepMetrics(Wire):
    """When the parts of a step began (nanoseconds since 1970) and how long they took (nanoseconds)."""

    id: str
    run_id: str | None = None
    job_id: str | None = None
    agent_id: str | None = None
    provider_id: str | None = None
    step_start_ns: int | None = None
    llm_request_start_ns: int | None = None
    llm_request_ns: int | None = None
    tool_execution_ns: int | None = None
    step_ns: int | None = None
    project_id: str | None = None
    template_id: str | None = None
    base_template_id: str | None = None


class BillingContext(Wire):
    """Who pays, where a hosting service fills it in."""

    plan_type: str | None = None
    cost_source: str | None = None
    customer_id: str | None = None


class ProviderTrace(Wire):
    """What was sent to a model provider and what came back."""

    id: str | None = None
    request_json: JsonObject
    response_json: JsonObject
    step_id: str | None = None
    run_id: str | None = None
    agent_id: str | None = None
    agent_tags: list[str] | None = None
    call_type: str | None = None
    source: str | None = None
    latency_ms: int | None = None
    llm_config: JsonObject | None = None
    compaction_settings: JsonObject | None = None
    billing_context: BillingContext | None = None
    org_id: str | None = None
    created_at: Timestamp | None = None
    updated_at: Timestamp | None = None
    created_by_id: str | None = None
    last_updated_by_id: str | None = None


class StepFeedback(Body):
    """A judgement on a step; null takes it back. Absent tags keep the step's tags."""

    feedback: Feedback | None = None
    tags: list[str] | None = None
