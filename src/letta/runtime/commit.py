"""The transactions of a step: messages, memory edits, step row, trace and the run's progress, all or nothing.

Most steps are one transaction (`commit_step`). When a call has to leave the process or waits for a person, the answer
is stored first (`commit_answer`) and the results later (`commit_results`), so that a crash in between loses neither.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from time import perf_counter_ns
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from letta.errors import LettaError
from letta.models.protocol import Answer
from letta.models.provider import Resolved
from letta.runtime import approvals, transcript
from letta.runtime.events import Failure, RunUsage
from letta.runtime.records import Timing, step_row, usage_json
from letta.runtime.styles import Outcome, Style, heartbeat_text
from letta.schemas.agents import AgentState
from letta.schemas.common import new_id
from letta.schemas.messages import Message, Role, TextPart, ToolCallPart, ToolReturnPart
from letta.schemas.runs import StopReason
from letta.store import agents, conversations, messages, runs, search, steps, traces
from letta.store.blocks import Author
from letta.store.query import now
from letta.store.runs import Versions, Work
from letta.store.traces import Kept
from letta.tools.context import ToolContext
from letta.tools.rules import RuleBook
from letta.tools.toolbox import Toolbox


class LostRun(LettaError):
    """The run was cancelled or taken over by another process while this one worked on it."""


@dataclass(frozen=True, slots=True)
class Scene:
    """Who acts, with what, and how far the run is. `is_last`: no model call may follow."""

    work: Work
    agent: AgentState
    toolbox: Toolbox
    rules: RuleBook
    style: Style
    usage: RunUsage
    timing: Timing
    is_last: bool


@dataclass(frozen=True, slots=True)
class Step:
    """A model's answer, with what came before it and is not stored yet. `traced` is the conversation's last trace."""

    scene: Scene
    id: str
    message_id: str
    inputs: tuple[Message, ...]
    answer: Answer
    resolved: Resolved
    traced: Kept | None
    keeps_trace: bool

    @property
    def calls(self) -> list[ToolCallPart]:
        return [part for part in self.answer.parts if isinstance(part, ToolCallPart)]


@dataclass(frozen=True, slots=True)
class Results:
    """What came of calls that are stored already: `known` results by call id; the others run in the transaction.

    `before` and `after` are messages to store around the results: a person's answer, and what they said besides.
    """

    scene: Scene
    asked: Message
    known: Mapping[str, ToolReturnPart]
    before: tuple[Message, ...] = ()
    after: tuple[Message, ...] = ()


class Commit(NamedTuple):
    """What was stored. `stop` is None when the turn goes on."""

    messages: tuple[Message, ...]
    before: Versions
    after: Versions
    stop: StopReason | None
    rules: RuleBook
    traced: Kept | None = None


def commit_step(connection: Connection, step: Step) -> Commit:
    """Carry out the calls of an answer in this transaction and store everything that came of the step.

    Raises:
        LostRun: the run is not ours any more; nothing was written.
    """
    started = perf_counter_ns()
    scene, rules = step.scene, step.scene.rules.copy()
    returns = _carry_out(connection, scene, step.calls, {}, rules, step.id, step.message_id)
    tools_ns = perf_counter_ns() - started
    stop, nudge = _judge(scene, step.calls, returns, rules, step.answer.finish_reason)
    new = [*_said(step), *_results(scene, step.id, returns), *_nudges(scene, step.id, nudge)]
    traced = _store_step(connection, step, stop, tools_ns)
    return _store(connection, scene, new, stop, rules)._replace(traced=traced)


def commit_answer(connection: Connection, step: Step, waiting: frozenset[str]) -> Commit:
    """Store an answer whose calls are carried out later; with calls `waiting` for a person the run ends here.

    Raises:
        LostRun: as `commit_step`.
    """
    stop = StopReason.REQUIRES_APPROVAL if waiting else None
    traced = _store_step(connection, step, stop, 0)
    if waiting:
        conversations.set_pending(connection, step.scene.work.conversation_id, step.message_id)
    done = _store(connection, step.scene, _said(step, waiting), stop, step.scene.rules, open_calls=step.calls)
    return done._replace(traced=traced)


def commit_results(connection: Connection, results: Results) -> Commit:
    """Store the results of calls that `commit_answer` stored.

    Raises:
        LostRun: as `commit_step`.
    """
    scene, asked = results.scene, results.asked
    rules, step_id = scene.rules.copy(), asked.step_id or ""
    returns = _carry_out(connection, scene, asked.tool_calls, results.known, rules, step_id, asked.id)
    stop, nudge = _judge(scene, asked.tool_calls, returns, rules, "tool_calls")
    if results.after:
        stop = StopReason.MAX_STEPS if scene.is_last else None
    conversations.set_pending(connection, scene.work.conversation_id, None)
    new = [*results.before, *_results(scene, step_id, returns), *results.after, *_nudges(scene, step_id, nudge)]
    return _store(connection, scene, new, stop, rules, answers=asked.tool_calls)


def commit_inputs(connection: Connection, scene: Scene, new: Sequence[Message]) -> Commit:
    """Store what a person answered before it is acted on, so that it is acted on once.

    Raises:
        LostRun: as `commit_step`.
    """
    conversations.set_pending(connection, scene.work.conversation_id, None)
    return _store(connection, scene, list(new), None, scene.rules)


def record_end(
    connection: Connection,
    work: Work,
    stop: StopReason,
    failure: Failure | None,
    usage: RunUsage,
    timing: Timing,
    failed_step: dict[str, Any] | None = None,
) -> None:
    """End a run whose last step said nothing: the transcript stays as it was after the last whole step.

    A run that is not ours any more is left alone.
    """
    if failed_step is not None:
        steps.add(connection, failed_step)
    error = None if failure is None else {"type": failure.type, "message": failure.message, "detail": failure.detail}
    _finish(connection, work, stop, usage, timing, metadata={"error": error} if error else {})


def close_pending(connection: Connection, conversation_id: str) -> str | None:
    """Answer calls that nobody will answer any more. Returns the run they came from, None when none waited.

    Raises:
        letta.errors.NotFound: no such conversation.
    """
    pending = conversations.thread(connection, conversation_id).pending_message_id
    if pending is None:
        return None
    asked = messages.get(connection, pending)
    closing = Message(
        id=new_id("message"),
        role=Role.TOOL,
        parts=list(approvals.cancelled(asked.tool_calls)),
        agent_id=asked.agent_id,
        conversation_id=conversation_id,
        created_at=now(),
        run_id=asked.run_id,
        step_id=asked.step_id,
        data=asked.data,
    )
    closing.position = conversations.advance(connection, conversation_id, 1, closing.created_at) - 1
    messages.add(connection, [closing])
    conversations.set_pending(connection, conversation_id, None)
    return asked.run_id


# -- what is done ------------------------------------------------------------------------------------------------------


def _carry_out(
    connection: Connection,
    scene: Scene,
    calls: Sequence[ToolCallPart],
    known: Mapping[str, ToolReturnPart],
    rules: RuleBook,
    step_id: str,
    message_id: str,
) -> list[ToolReturnPart]:
    """The results of calls, in their order; those that are not known run now."""
    work = scene.work
    author = Author("agent", work.agent_id, work.id, step_id, message_id)
    context = ToolContext(connection, work.agent_id, work.conversation_id, scene.agent.timezone or "UTC", author)
    returns = []
    for call in calls:
        result = known.get(call.id)
        if result is None:
            permitted = rules.permitted(scene.toolbox.names).names
            result = scene.toolbox.call(context, call, permitted, rules.prefilled(call.name))
        rules.note(call.name, str(result.content))
        returns.append(result)
    return returns


def _judge(
    scene: Scene,
    calls: Sequence[ToolCallPart],
    returns: Sequence[ToolReturnPart],
    rules: RuleBook,
    finish_reason: str,
) -> tuple[StopReason | None, str | None]:
    """Why the turn ends here, or else what the model is told before it goes on."""
    verdict = scene.style.judge(Outcome(finish_reason, calls, returns, rules, scene.toolbox.names))
    stop = verdict.stop or (StopReason.MAX_STEPS if scene.is_last else None)
    return stop, None if stop else verdict.nudge


# -- what is said ------------------------------------------------------------------------------------------------------


def _said(step: Step, waiting: frozenset[str] = frozenset()) -> list[Message]:
    """The messages before the answer, and the answer; calls that wait are marked."""
    scene = step.scene
    parts = [
        part.model_copy(update={"pending": True}) if isinstance(part, ToolCallPart) and part.id in waiting else part
        for part in step.answer.parts
    ]
    reply = scene.style.reply(step.calls)
    answer = _message(scene, step.id, Role.ASSISTANT, parts, {"reply": reply} if reply else {})
    answer.id, answer.model, answer.created_at = step.message_id, step.resolved.handle, scene.timing.step_started_at
    return [*(given.model_copy(update={"step_id": step.id}) for given in step.inputs), answer]


def _results(scene: Scene, step_id: str, returns: Sequence[ToolReturnPart]) -> list[Message]:
    return [_message(scene, step_id, Role.TOOL, returns, {})] if returns else []


def _nudges(scene: Scene, step_id: str, nudge: str | None) -> list[Message]:
    """What the model is told so that it goes on."""
    if nudge is None:
        return []
    moment = now().astimezone(ZoneInfo(scene.agent.timezone or "UTC")).strftime("%Y-%m-%d %I:%M:%S %p %Z%z")
    text = heartbeat_text(nudge, moment) if scene.style.name == "heartbeat" else nudge
    return [_message(scene, step_id, Role.USER, [TextPart(text=text)], {"packed": True, "nudge": True})]


def _message(scene: Scene, step_id: str, role: Role, parts: Sequence[Any], data: dict[str, Any]) -> Message:
    style = {"style": scene.style.name} if scene.style.name == "heartbeat" and role is not Role.USER else {}
    return Message(
        id=new_id("message"),
        role=role,
        parts=list(parts),
        agent_id=scene.work.agent_id,
        conversation_id=scene.work.conversation_id,
        created_at=now(),
        run_id=scene.work.id,
        step_id=step_id,
        group_id=scene.work.request.get("group_id"),
        data={**style, **data} or None,
    )


# -- what is written ---------------------------------------------------------------------------------------------------


def _store_step(connection: Connection, step: Step, stop: StopReason | None, tools_ns: int) -> Kept | None:
    work, timing = step.scene.work, step.scene.timing
    steps.add(connection, step_row(work, step.id, step.resolved, step.answer, timing, stop=stop, tools_ns=tools_ns))
    if not step.keeps_trace:
        return None
    return traces.add(
        connection,
        step_id=step.id,
        agent_id=work.agent_id,
        run_id=work.id,
        request=step.answer.request,
        response=step.answer.response,
        before=step.traced,
        latency_ms=timing.model_ns / 1e6,
        created_at=timing.step_started_at,
    )


def _store(
    connection: Connection,
    scene: Scene,
    new: list[Message],
    stop: StopReason | None,
    rules: RuleBook,
    *,
    answers: Sequence[ToolCallPart] = (),
    open_calls: Sequence[ToolCallPart] = (),
) -> Commit:
    """Write messages and the run's progress. `answers` were open before, `open_calls` stay open.

    Results that come first of all close the calls of an interrupted step.
    """
    work = scene.work
    interrupted = {
        result.tool_call_id for message in new[:1] if message.role is Role.TOOL for result in message.tool_returns
    }
    transcript.check(new, {call.id for call in answers} | interrupted, {call.id for call in open_calls})
    end = conversations.advance(connection, work.conversation_id, len(new), new[-1].created_at)
    earliest = min(message.created_at for message in new)
    for number, message in enumerate(new):
        message.position = end - len(new) + number
        message.created_at = max(message.created_at, earliest + timedelta(microseconds=number))
    messages.add(connection, new)
    search.index(connection, new)
    moved = stop is not None and scene.agent.message_buffer_autoclear and not open_calls
    if moved:
        conversations.move_window(connection, work.conversation_id, end, None)
    _progress(connection, scene, stop)
    after = runs.current_versions(connection, work.agent_id, work.conversation_id)
    return Commit(tuple(new), Versions(after.agent, after.thread - 1), after, stop, rules)


def _progress(connection: Connection, scene: Scene, stop: StopReason | None) -> None:
    if stop is not None:
        ours = _finish(connection, scene.work, stop, scene.usage, scene.timing, metadata={}, unless_cancelled=True)
    else:
        values = {"usage": usage_json(scene.usage)}
        ours = runs.fence(connection, scene.work.id, scene.work.attempt, values, unless_cancelled=True)
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
