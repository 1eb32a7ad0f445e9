"""What is written about runs and steps besides what was said: times, tokens, models, errors."""

from dataclasses import dataclass
from datetime import datetime
from time import perf_counter_ns
from typing import Any

from letta.errors import ModelError
from letta.models.protocol import Answer, Usage
from letta.models.provider import Resolved
from letta.runtime.events import RunUsage
from letta.schemas.runs import StopReason
from letta.store.runs import Work


@dataclass(frozen=True, slots=True)
class Timing:
    """When a run and its step began, and what the model took: nanoseconds, and moments as datetimes."""

    run_started_ns: int
    step_started_ns: int
    step_started_at: datetime
    model_ns: int = 0
    first_token_ns: int | None = None


def step_row(
    work: Work,
    step_id: str,
    resolved: Resolved,
    answer: Answer,
    timing: Timing,
    *,
    stop: StopReason | None,
    tools_ns: int,
) -> dict[str, Any]:
    """The row of a step whose model answered."""
    tokens = answer.usage
    return {
        **_model_columns(resolved),
        "id": step_id,
        "agent_id": work.agent_id,
        "run_id": work.id,
        "status": "success",
        "stop_reason": stop,
        "prompt_tokens": tokens.prompt_tokens,
        "completion_tokens": tokens.completion_tokens,
        "total_tokens": tokens.total_tokens,
        "cached_input_tokens": tokens.cached_input_tokens,
        "cache_write_tokens": tokens.cache_write_tokens,
        "reasoning_tokens": tokens.reasoning_tokens,
        "request_id": answer.request_id,
        "step_start_ns": _epoch_ns(timing.step_started_at),
        "llm_request_ns": timing.model_ns,
        "tool_execution_ns": tools_ns,
        "step_ns": perf_counter_ns() - timing.step_started_ns,
        "created_at": timing.step_started_at,
    }


def failed_step_row(work: Work, step_id: str, error: ModelError, timing: Timing) -> dict[str, Any]:
    """The row of a step whose model call failed."""
    return {
        "id": step_id,
        "agent_id": work.agent_id,
        "run_id": work.id,
        "status": "failed",
        "stop_reason": StopReason.LLM_API_ERROR,
        "error_type": error.code,
        "error_data": {"message": error.message, **error.details},
        "step_start_ns": _epoch_ns(timing.step_started_at),
        "llm_request_ns": perf_counter_ns() - timing.step_started_ns,
        "step_ns": perf_counter_ns() - timing.step_started_ns,
        "created_at": timing.step_started_at,
    }


def usage_json(usage: RunUsage) -> dict[str, Any]:
    """The numbers of a run as they are stored and sent."""
    tokens = usage.tokens
    return {
        "step_count": usage.step_count,
        "context_tokens": usage.context_tokens,
        **{name: getattr(tokens, name) for name in Usage.__slots__},
    }


def usage_from_json(stored: dict[str, Any] | None) -> RunUsage:
    """The inverse of `usage_json`."""
    if stored is None:
        return RunUsage()
    tokens = Usage(*(stored.get(name) for name in Usage.__slots__))
    return RunUsage(stored["step_count"], tokens, stored.get("context_tokens"))


def _model_columns(resolved: Resolved) -> dict[str, Any]:
    info = resolved.info
    return {
        "model": resolved.name,
        "model_handle": resolved.handle,
        "model_endpoint": info.model_endpoint,
        "provider_name": resolved.provider,
        "provider_category": info.provider_category or "base",
        "context_window_limit": resolved.context_window,
    }


def _epoch_ns(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000) * 1000
