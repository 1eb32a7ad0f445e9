"""The transactions of a step: messages, memory edits, step row, trace and the run's progress, all or nothing.

Most steps are one transaction (`commit_step`). When a call has to leave the process or waits for a person, the answer
is stored first (`commit_answer`) and the results later (`commit_results`), so that a crash in between loses neither.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from time import perf_counter_ns
from typing import Any, NamedTuple

from sqlalchemy import Connection

from letta.errors import LettaError
from letta.runtime import said, transcript
from letta.runtime.closing import close_calls
from letta.runtime.events import Failure, RunUsage
from letta.runtime.records import Timing, step_row, usage_json
from letta.runtime.scene import Results, Scene, Step
from letta.runtime.styles import Outcome
from letta.schemas.messages import Message, Role, ToolCallPart, ToolReturnPart
from letta.schemas.runs import RunStatus, StopReason
from letta.schemas.sends import SendRequest
from letta.store import agents, arrivals, configurations, conversations, messages, runs, search, steps, traces
from letta.store.blocks import Author
from letta.store.query import now
from letta.store.runs import Held, Versions, Work
from letta.store.traces import Kept
from letta.tools.context import ToolContext
from letta.tools.rules import RuleBook


class LostRun(LettaError):
    """The run was cancelled or taken over by another process while this one worked on it."""


class Commit(NamedTuple):
    """What was stored. `stop` is None when the turn goes on; `steered` says that somebody wants to be heard in it.

    `others` are the ids of waiting runs that this one answers for, too, from here on.
    """

    messages: tuple[Message, ...]
    before: Versions
    after: Versions
    stop: StopReason | None
    rules: RuleBook
    traced: Kept | None = None
    recorded: str | None = None
    steered: bool = False
    others: tuple[str, ...] = ()


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
    new = [*said.answer(step), *said.results(scene, step.id, returns), *said.nudges(scene, step.id, nudge)]
    # First what fails if the agent is gone by now, and keeps it from going.
    done = _store(connection, scene, new, stop, rules, streamed=step.message_id)
    traced = _store_step(connection, step, stop, tools_ns)
    return done._replace(traced=traced, recorded=step.configuration.digest)


def commit_answer(connection: Connection, step: Step, waiting: frozenset[str]) -> Commit:
    """Store an answer whose calls are carried out later; with calls `waiting` for a person the run ends here.

    Raises:
        LostRun: as `commit_step`.
    """
    stop = StopReason.REQUIRES_APPROVAL if waiting else None
    if waiting:
        conversations.set_pending(connection, step.scene.work.conversation_id, step.message_id)
    done = _store(
        connection,
        step.scene,
        said.answer(step, waiting),
        stop,
        step.scene.rules,
        open_calls=step.calls,
        streamed=step.message_id,
    )
    traced = _store_step(connection, step, stop, 0)
    return done._replace(traced=traced, recorded=step.configuration.digest)


def commit_results(connection: Connection, results: Results) -> Commit:
    """Store the results of calls that `commit_answer` stored.

    Raises:
        LostRun: as `commit_step`.
    """
    scene, asked = results.scene, results.asked
    rules, step_id = scene.rules.copy(), asked.step_id or ""
    returns = _carry_out(
        connection, scene, asked.tool_calls, results.known, rules, step_id, asked.id, denied=results.denied
    )
    stop, nudge = _judge(scene, asked.tool_calls, returns, rules, "tool_calls")
    if results.after:
        stop = StopReason.MAX_STEPS if scene.is_last else None
    conversations.set_pending(connection, scene.work.conversation_id, None)
    new = [*results.before, *said.results(scene, step_id, returns), *results.after, *said.nudges(scene, step_id, nudge)]
    return _store(connection, scene, new, stop, rules, answers=asked.tool_calls)


def commit_inputs(connection: Connection, scene: Scene, new: Sequence[Message]) -> Commit:
    """Store what a person answered before it is acted on, so that it is acted on once.

    Raises:
        LostRun: as `commit_step`.
    """
    conversations.set_pending(connection, scene.work.conversation_id, None)
    return _store(connection, scene, list(new), None, scene.rules, shown=False)


def commit_heard(connection: Connection, scene: Scene) -> Commit | None:
    """Store what others want to be heard with during this turn. None when nobody does any more.

    Raises:
        LostRun: as `commit_step`.
    """
    work = scene.work
    # First the row, then what waits: who comes later finds the row taken and raises the flag again.
    if not runs.fence(connection, work.id, work.attempt, {"steered": False}, unless_cancelled=True):
        raise LostRun
    waiting = arrivals.to_be_heard(connection, work.conversation_id)
    new: list[Message] = []
    for row in waiting:
        new += transcript.new_messages(SendRequest.model_validate(row.request), work, now())
    if not new:
        if scene.record is not None:
            scene.record.write(connection)
        return None
    for message in new:
        message.data = {"steered": True}
    done = _store(connection, scene, new, None, scene.rules, shown=False)
    ids = tuple(row.id for row in waiting)
    arrivals.join(connection, work.id, ids, new[-1].position + 1)
    return done._replace(others=ids)


def record_end(
    connection: Connection,
    work: Work,
    stop: StopReason,
    failure: Failure | None,
    usage: RunUsage,
    timing: Timing,
    failed_step: dict[str, Any] | None = None,
    *,
    repeatable: bool = False,
) -> bool:
    """End a run whose last step said nothing: the transcript stays as it was after the last whole step.

    Calls that were being carried out are answered, too. With `repeatable` nothing came of the run: whoever sends the
    same request again gets a new one. False for a run that is not ours any more, which is left alone.
    """
    error = None if failure is None else {"type": failure.type, "message": failure.message, "detail": failure.detail}
    metadata = {"error": error} if error else {}
    if not _finish(connection, work, stop, usage, timing, metadata=metadata, repeatable=repeatable):
        return False
    if failed_step is not None:
        steps.add(connection, failed_step)
    if stop.run_status is not RunStatus.COMPLETED:
        close_calls(connection, work)
    return True


# -- what is done ------------------------------------------------------------------------------------------------------


def _carry_out(
    connection: Connection,
    scene: Scene,
    calls: Sequence[ToolCallPart],
    known: Mapping[str, ToolReturnPart],
    rules: RuleBook,
    step_id: str,
    message_id: str,
    *,
    denied: frozenset[str] = frozenset(),
) -> list[ToolReturnPart]:
    """The results of calls, in their order; those that are not known run now. Calls that were not made do not count."""
    work = scene.work
    author = Author("agent", work.agent_id, work.id, step_id, message_id)
    context = ToolContext(connection, work.agent_id, work.conversation_id, scene.agent.timezone or "UTC", author)
    returns = []
    for call in calls:
        result = known.get(call.id)
        if result is None:
            permitted = rules.permitted(scene.toolbox.names).names
            result = scene.toolbox.call(context, call, permitted, rules.prefilled(call.name))
        if not call.surplus and call.id not in denied:
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


# -- what is written ---------------------------------------------------------------------------------------------------


def _store_step(connection: Connection, step: Step, stop: StopReason | None, tools_ns: int) -> Kept | None:
    work, timing = step.scene.work, step.scene.timing
    if not step.is_recorded:
        configurations.keep(connection, work.agent_id, step.configuration)
    row = step_row(work, step.id, step.resolved, step.answer, timing, stop=stop, tools_ns=tools_ns)
    steps.add(connection, {**row, "configuration": step.configuration.digest})
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
    streamed: str | None = None,
    shown: bool = True,
) -> Commit:
    """Write messages and the run's progress. `answers` were open before, `open_calls` stay open.

    `streamed` is the message whose pieces went out before; readers are told of the messages if they are `shown`.
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
    begins = work.conversation_id != work.agent_id and new[0].position == conversations.FIRST_POSITION
    messages.add(connection, [said.prompt_place(work, earliest), *new] if begins else new)
    if scene.record is not None:
        scene.record.write(connection, new if shown else (), streamed)
    search.index(connection, new)
    moved = stop is not None and scene.agent.message_buffer_autoclear and not open_calls
    if moved:
        conversations.move_window(connection, work.conversation_id, end, None)
    held = _progress(connection, scene, stop)
    after = runs.current_versions(connection, work.agent_id, work.conversation_id)
    before = Versions(after.agent, after.thread - 1)
    return Commit(tuple(new), before, after, stop, rules, steered=held.steered)


def _progress(connection: Connection, scene: Scene, stop: StopReason | None) -> Held:
    if stop is not None:
        held = _finish(connection, scene.work, stop, scene.usage, scene.timing, metadata={}, unless_cancelled=True)
    else:
        values = {"usage": usage_json(scene.usage)}
        held = runs.fence(connection, scene.work.id, scene.work.attempt, values, unless_cancelled=True)
    if held is None:
        raise LostRun
    return held


def _finish(
    connection: Connection,
    work: Work,
    stop: StopReason,
    usage: RunUsage,
    timing: Timing,
    *,
    metadata: dict[str, Any],
    unless_cancelled: bool = False,
    repeatable: bool = False,
) -> Held | None:
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
    if work.request.get("callback_url"):
        values["callback_due"] = moment
    if repeatable:
        values |= {"request_key": None, "request_digest": None}
    held = runs.fence(connection, work.id, work.attempt, values, unless_cancelled=unless_cancelled)
    if held is None:
        return None
    if held.answers_others:
        arrivals.end_joined(connection, work.id, stop.run_status, stop, moment, metadata.get("error"))
    agents.note_run(
        connection, work.agent_id, stop_reason=stop, completed_at=moment, duration_ms=duration_ns // 1_000_000
    )
    if work.conversation_id != work.agent_id:
        conversations.note_run(connection, work.conversation_id, moment)
    return held
