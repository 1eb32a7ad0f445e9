"""The transaction of a step: messages, memory edits, step row, trace and the run's progress, all or nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import perf_counter_ns
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, update

from letta.errors import LettaError, ModelError
from letta.models.protocol import Answer, Usage
from letta.models.provider import Resolved
from letta.runtime import transcript
from letta.runtime.events import Failure, RunUsage
from letta.runtime.styles import Outcome, Style, heartbeat_text
from letta.schemas.agents import AgentState
from letta.schemas.common import new_id
from letta.schemas.messages import Message, Role, TextPart, ToolReturnPart
from letta.schemas.runs import StopReason
from letta.store import agents, conversations, messages, runs, search, steps, traces
from letta.store.blocks import Author
from letta.store.query import now
from letta.store.runs import Versions, Work
from letta.store.tables import conversations as conversation_rows
from letta.tools.context import ToolContext
from letta.tools.rules import RuleBook
from letta.tools.toolbox import Toolbox


class LostRun(LettaError):
    """The run was cancelled or taken over by another process while this one worked on it."""


@dataclass(frozen=True, slots=True)
class Timing:
    """When a run and its step began, and what the model took: nanoseconds, and moments as datetimes."""

    run_started_ns: int
    step_started_ns: int
    step_started_at: datetime
    model_ns: int = 0
    first_token_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One model answer and all that is needed to carry it out and store it."""

    work: Work
    agent: AgentState
    id: str
    message_id: str
    inputs: tuple[Message, ...]
    answer: Answer
    resolved: Resolved
    toolbox: Toolbox
    rules: RuleBook
    style: Style
    usage: RunUsage
    timing: Timing
    is_last: bool
    packed_trace: tuple[bytes, bytes] | None


class Commit(NamedTuple):
    """What was stored. `stop` is None when the turn goes on."""

    messages: tuple[Message, ...]
    before: Versions
    after: Versions
    stop: StopReason | None
    rules: RuleBook


def commit_step(connection: Connection, step: Step) -> Commit:
    """Carry out the calls of an answer and store everything that came of the step.

    Raises:
        LostRun: the run is not ours any more; nothing was written.
    """
    tools_started = perf_counter_ns()
    rules = step.rules.copy()
    returns = _call_tools(connection, step, rules)
    tools_ns = perf_counter_ns() - tools_started
    calls = [part for part in step.answer.parts if part.type == "tool_call"]
    verdict = step.style.judge(Outcome(step.answer, calls, returns, rules, step.toolbox.names))
    stop = verdict.stop or (StopReason.MAX_STEPS if step.is_last else None)
    new = _numbered(connection, step.work, _messages(step, returns, None if stop else verdict.nudge))
    transcript.check(new)
    messages.add(connection, new)
    search.index(connection, new)
    steps.add(connection, _step_row(step, stop, tools_ns))
    if step.packed_trace is not None:
        traces.add(
            connection,
            step_id=step.id,
            agent_id=step.work.agent_id,
            run_id=step.work.id,
            packed=step.packed_trace,
            latency_ms=step.timing.model_ns / 1e6,
            created_at=step.timing.step_started_at,
        )
    if stop is not None and step.agent.message_buffer_autoclear:
        conversations.move_window(connection, step.work.conversation_id, new[-1].position + 1, None)
    _progress(connection, step.work, stop, step.usage, step.timing)
    after = runs.current_versions(connection, step.work.agent_id, step.work.conversation_id)
    return Commit(tuple(new), Versions(after.agent, after.thread - 1), after, stop, rules)


def record_failure(
    connection: Connection,
    work: Work,
    stop: StopReason,
    failure: Failure | None,
    usage: RunUsage,
    timing: Timing,
    step_row: dict[str, Any] | None,
) -> None:
    """End a run that did not get to its end: the transcript stays as it was after the last whole step.

    A run that is not ours any more is left alone.
    """
    if step_row is not None:
        steps.add(connection, step_row)
    error = None if failure is None else {"type": failure.type, "message": failure.message, "detail": failure.detail}
    _finish(connection, work, stop, usage, timing, metadata={"error": error} if error else {})


def failed_step(work: Work, step_id: str, error: ModelError, timing: Timing) -> dict[str, Any]:
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


def _call_tools(connection: Connection, step: Step, rules: RuleBook) -> list[ToolReturnPart]:
    author = Author("agent", step.work.agent_id, step.work.id, step.id, step.message_id)
    context = ToolContext(
        connection, step.work.agent_id, step.work.conversation_id, step.agent.timezone or "UTC", author
    )
    returns = []
    for part in step.answer.parts:
        if part.type == "tool_call":
            permitted = rules.permitted(step.toolbox.names).names
            result = step.toolbox.call(context, part, permitted, rules.prefilled(part.name))
            rules.note(part.name, str(result.content))
            returns.append(result)
    return returns


def _messages(step: Step, returns: Sequence[ToolReturnPart], nudge: str | None) -> list[Message]:
    work, heartbeat = step.work, step.style.name == "heartbeat"
    style = {"style": step.style.name} if heartbeat else {}
    calls = [part for part in step.answer.parts if part.type == "tool_call"]
    reply = step.style.reply(calls)

    def message(message_id: str, role: Role, parts: Sequence[Any], data: dict[str, Any], **more: Any) -> Message:
        return Message(
            id=message_id,
            role=role,
            parts=list(parts),
            agent_id=work.agent_id,
            conversation_id=work.conversation_id,
            created_at=more.pop("created_at", None) or now(),
            run_id=work.id,
            step_id=step.id,
            data=data or None,
            **more,
        )

    made = [given.model_copy(update={"step_id": step.id}) for given in step.inputs]
    said = {**style, "reply": reply} if reply else style
    written = {"model": step.resolved.handle, "created_at": step.timing.step_started_at}
    made.append(message(step.message_id, Role.ASSISTANT, step.answer.parts, said, **written))
    if returns:
        made.append(message(new_id("message"), Role.TOOL, returns, style))
    if nudge is not None:
        moment = now().astimezone(ZoneInfo(step.agent.timezone or "UTC")).strftime("%Y-%m-%d %I:%M:%S %p %Z%z")
        text = heartbeat_text(nudge, moment) if heartbeat else nudge
        made.append(message(new_id("message"), Role.USER, [TextPart(text=text)], {"packed": True, "nudge": True}))
    return made


def _numbered(connection: Connection, work: Work, new: list[Message]) -> list[Message]:
    """The messages with their positions, taken from the conversation's counter, and times in the same order."""
    moment = new[-1].created_at
    counter = (
        update(conversation_rows)
        .where(conversation_rows.c.id == work.conversation_id)
        .values(
            next_position=conversation_rows.c.next_position + len(new),
            version=conversation_rows.c.version + 1,
            last_message_at=moment,
            updated_at=moment,
        )
        .returning(conversation_rows.c.next_position)
    )
    end = connection.execute(counter).scalar_one()
    earliest = min(message.created_at for message in new)
    for number, message in enumerate(new):
        message.position = end - len(new) + number
        message.created_at = max(message.created_at, earliest + timedelta(microseconds=number))
    return new


def _step_row(step: Step, stop: StopReason | None, tools_ns: int) -> dict[str, Any]:
    tokens = step.answer.usage
    return {
        **_model_columns(step.resolved),
        "id": step.id,
        "agent_id": step.work.agent_id,
        "run_id": step.work.id,
        "status": "success",
        "stop_reason": stop,
        "prompt_tokens": tokens.prompt_tokens,
        "completion_tokens": tokens.completion_tokens,
        "total_tokens": tokens.total_tokens,
        "cached_input_tokens": tokens.cached_input_tokens,
        "cache_write_tokens": tokens.cache_write_tokens,
        "reasoning_tokens": tokens.reasoning_tokens,
        "request_id": step.answer.request_id,
        "step_start_ns": _epoch_ns(step.timing.step_started_at),
        "llm_request_ns": step.timing.model_ns,
        "tool_execution_ns": tools_ns,
        "step_ns": perf_counter_ns() - step.timing.step_started_ns,
        "created_at": step.timing.step_started_at,
    }


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


def _progress(connection: Connection, work: Work, stop: StopReason | None, usage: RunUsage, timing: Timing) -> None:
    if stop is not None:
        ours = _finish(connection, work, stop, usage, timing, metadata={}, unless_cancelled=True)
    else:
        values = {"usage": usage_json(usage)}
        ours = runs.fence(connection, work.id, work.attempt, values, unless_cancelled=True)
    if not ours:
        raise LostRun


def _finish(
    connection: Connection,
    work: Work,
    stop: StopReason,
    usage: RunUsage,
    timing: Timing,
    *,
    metadata: dict[str, Any],
    unless_cancelled: bool = False,
) -> bool:
    moment, duration_ns = now(), perf_counter_ns() - timing.run_started_ns
    values: dict[str, Any] = {
        "status": stop.run_status,
        "stop_reason": stop,
        "usage": usage_json(usage),
        "completed_at": moment,
        "ttft_ns": timing.first_token_ns,
        "total_duration_ns": duration_ns,
    }
    if metadata:
        values["metadata"] = {"run_type": "send_message", **metadata}
    if not runs.fence(connection, work.id, work.attempt, values, unless_cancelled=unless_cancelled):
        return False
    agents.note_run(
        connection, work.agent_id, stop_reason=stop, completed_at=moment, duration_ms=duration_ns // 1_000_000
    )
    return True


def usage_json(usage: RunUsage) -> dict[str, Any]:
    """The numbers of a run as they are stored and sent."""
    tokens = usage.tokens
    return {
        "step_count": usage.step_count,
        "context_tokens": usage.context_tokens,
        **{name: getattr(tokens, name) for name in type(tokens).__slots__},
    }


def usage_from_json(stored: dict[str, Any] | None) -> RunUsage:
    """The inverse of `usage_json`."""
    if stored is None:
        return RunUsage()
    tokens = Usage(*(stored.get(name) for name in Usage.__slots__))
    return RunUsage(stored["step_count"], tokens, stored.get("context_tokens"))


def _epoch_ns(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000) * 1000
