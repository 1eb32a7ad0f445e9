"""THE loop: one run of an agent, as a stream of events.

Each step asks the model, carries out its tool calls and commits everything in one transaction. No transaction is open
while a model is asked. Readers (HTTP, CLI, SDK) get what this generator yields and nothing else.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from time import perf_counter_ns
from types import MappingProxyType
from typing import Any, NamedTuple

from letta.errors import (
    Conflict,
    ContextOverflow,
    LettaError,
    ModelCredits,
    ModelEmptyAnswer,
    ModelError,
    PendingApproval,
    PromptOverflow,
    StoreUnavailable,
)
from letta.memory.compaction import TRIGGER_SHARE, squeeze
from letta.memory.tokens import Ledger, estimate
from letta.memory.window import Window, Windows
from letta.models.protocol import Answer, ToolCallDelta
from letta.models.registry import Registry
from letta.runtime import approvals, commit, transcript
from letta.runtime.cancelling import to_the_end
from letta.runtime.commit import Commit
from letta.runtime.compact import Occasion, compact, settings_of
from letta.runtime.events import Committed, Delta, Event, Finished, added, failure_of
from letta.runtime.events import RunUsage as Used
from letta.runtime.observe import NOBODY, Observer, StepSeen
from letta.runtime.recording import Record
from letta.runtime.records import Timing, failed_step_row, usage_from_json
from letta.runtime.request import Call, build, fixed_texts, limit_of, resolve, toolbox_of
from letta.runtime.resumed import Resumed, resumed
from letta.runtime.scene import Results, Scene, Step
from letta.runtime.styles import style_of
from letta.schemas.common import new_id
from letta.schemas.messages import Message, Role, ToolCallPart
from letta.schemas.runs import StopReason
from letta.schemas.sends import SendRequest
from letta.schemas.tools import Tool
from letta.store import runs
from letta.store.access import Database, P, StoreFunction, T
from letta.store.query import now
from letta.store.runs import Versions, Work
from letta.tools.context import Errand, ErrandRunner
from letta.tools.rules import RuleBook
from letta.tools.toolbox import Toolbox

log = logging.getLogger(__name__)

# How often a conversation is compacted before one request, and how often a provider may still refuse it as too long.
_ROUNDS, _OVERFLOWS = 4, 3
_STOPS: dict[type[LettaError], StopReason] = {
    PromptOverflow: StopReason.CONTEXT_WINDOW_OVERFLOW_IN_SYSTEM_PROMPT,
    ModelEmptyAnswer: StopReason.INVALID_LLM_RESPONSE,
    ModelCredits: StopReason.INSUFFICIENT_CREDITS,
}


@dataclass(frozen=True, slots=True)
class Means:
    """What runs work with. `runners` carry out the tools of a type that run outside the step's transaction."""

    database: Database
    registry: Registry
    windows: Windows
    max_steps: int
    keep_traces: bool
    ledger: Ledger = field(default_factory=Ledger)
    runners: Mapping[str, ErrandRunner] = field(default_factory=lambda: MappingProxyType({}))
    observer: Observer = NOBODY


class StepIds(NamedTuple):
    """The ids of a step and of the message the model writes in it, known before it writes."""

    step: str
    message: str


Joined = Callable[[Sequence[str]], None]
"""Called with the ids of runs that the working one answers for, too, from now on."""


async def run(
    means: Means, work: Work, versions: Versions, record: Record | None = None, joined: Joined = lambda others: None
) -> AsyncGenerator[Event]:
    """Work on a run until it ends. The last event is `Finished`; the run's row says the same.

    With a `record`, the pieces of messages are kept, and are events, too.
    A run that was interrupted goes on after its last committed step: what was paid for is not asked for again.

    Raises:
        letta.runtime.commit.LostRun: the run was cancelled, or another process has it now.
        letta.errors.StoreUnavailable: the database is gone; the run stays as it is and is taken up again later.
    """
    window = await means.windows.get(work.agent_id, work.conversation_id, versions)
    turn = _Turn(means, work, window, record, joined)
    async with aclosing(turn.events()) as events:
        async for event in events:
            yield event


class _Turn:
    """One run, from the caller's messages to the reason why it stopped."""

    def __init__(self, means: Means, work: Work, window: Window, record: Record | None, joined: Joined) -> None:
        self.means, self.work, self.window, self.record, self.joined = means, work, window, record, joined
        self.versions = window.versions  # of what was committed last
        self.request = SendRequest.model_validate(work.request)
        self.rules = RuleBook(window.agent.tool_rules or ())
        self.usage = usage_from_json(work.usage)
        self.inputs: tuple[Message, ...] = ()
        self.steps = 0
        self.stop: StopReason | None = None
        self.steered = False
        self.is_cancelled = False
        self.started_ns = perf_counter_ns()
        self.first_token_ns: int | None = None
        self.tools_ns = 0  # of the calls outside, in the step that goes on
        self.call: Call | None = None
        self.size = 0  # of the call, in estimated tokens: counted once per call

    async def events(self) -> AsyncGenerator[Event]:
        """Everything that happens, ending with `Finished`."""
        ids = StepIds(new_id("step"), new_id("message"))
        try:
            async with aclosing(self._begin()) as begun:
                async for event in begun:
                    yield event
            while self.stop is None:
                await self._go_on()
                if self.steered:
                    await self._hear()
                    await self._go_on()
                ids, timing = StepIds(new_id("step"), new_id("message")), self._timing()
                async with aclosing(self._step(ids, timing)) as step:
                    async for event in step:
                        yield event
        except (commit.LostRun, StoreUnavailable):
            raise
        except LettaError as error:
            yield await self._fail(ids, error)
            return
        yield Finished(self.stop, self.usage)

    # -- the beginning ------------------------------------------------------------------------------------------------

    async def _begin(self) -> AsyncGenerator[Event]:
        """Start with the caller's messages, or after the last committed step of an interrupted run."""
        mine = [message for message in self.window.messages if message.run_id == self.work.id]
        before = _turn(self.window.messages) if approvals.is_answer(self.request) else mine
        uncounted = transcript.not_made(before)
        for message in before:
            for result in message.tool_returns:
                if result.tool_call_id not in uncounted:
                    self.rules.note(result.name or "", str(result.content))
        self.steps = sum(message.role is Role.ASSISTANT for message in mine)
        asked = approvals.waiting(self.window.messages)
        if approvals.is_answer(self.request) and not mine:
            async with aclosing(self._answered(asked)) as events:
                async for event in events:
                    yield event
            return
        if asked is not None and not mine:
            raise PendingApproval(pending_request_id=asked.id)
        plain = transcript.new_messages(self.request, self.work, now())
        lost = transcript.unanswered(self.window.messages)
        if lost and (found := resumed(self.window.messages, self.request, self.work, self._toolbox())):
            yield await self._resume(found, plain)
        elif lost:
            last = next(message for message in reversed(self.window.messages) if message.role is Role.ASSISTANT)
            self.inputs = (transcript.closing(lost, last, self.work, now()), *(() if mine else plain))
        elif not mine:
            self.inputs = plain

    async def _resume(self, found: Resumed, plain: tuple[Message, ...]) -> Committed:
        """Bring the step that was interrupted to its end."""
        is_last = self.steps >= (self.request.max_steps or self.means.max_steps)
        scene = self._scene(self._timing(), self._toolbox(), is_last=is_last)
        made = await scene.toolbox.run_errands(found.again, self.rules, self._errand(found.asked.step_id or ""))
        # A person's answer is stored before it is acted on, and what they said besides is not.
        after = plain if found.asked.run_id != self.work.id else ()
        results = Results(scene, found.asked, {**found.known, **made}, after=after, denied=found.denied)
        done = await self._commit(commit.commit_results, results)
        return Committed(done.messages)

    async def _answered(self, asked: Message | None) -> AsyncGenerator[Event]:
        """A person or client answers waiting calls: carry out what was allowed, then go on."""
        answers = approvals.answer(self.request, asked, self.window.messages, self.work, now())
        plain = transcript.new_messages(self.request, self.work, now())
        if answers is None or asked is None:
            self.inputs = plain
            if not plain:
                await self._end(StopReason.END_TURN)
            return
        scene = self._scene(self._timing(), self._toolbox(), is_last=False)
        calls = [call for call in asked.tool_calls if call.id not in answers.known and scene.toolbox.is_errand(call)]
        known = dict(answers.known)
        before: tuple[Message, ...] = (answers.message,)
        if calls:
            await self._commit(commit.commit_inputs, scene, before, shown=False)
            await self._go_on()
            known |= await scene.toolbox.run_errands(calls, self.rules, self._errand(asked.step_id or ""))
            before = ()
        results = Results(scene, asked, known, before, plain, answers.denied)
        done = await self._commit(commit.commit_results, results)
        yield Committed(done.messages)

    # -- a step -------------------------------------------------------------------------------------------------------

    async def _step(self, ids: StepIds, timing: Timing) -> AsyncGenerator[Event]:
        """Ask the model, carry out its calls, store what came of it."""
        answer: Answer | None = None
        call: Call | None = None
        for attempt in range(_OVERFLOWS + 1):
            async with aclosing(self._fit(ids, forced=attempt > 0)) as events:
                async for event in events:
                    yield event
            call = self.call
            assert call is not None, "fitting ends with a call"
            try:
                async with aclosing(self._ask(call, ids, timing)) as pieces:
                    async for piece in pieces:
                        if isinstance(piece, Answer):
                            answer = piece
                        else:
                            yield piece
                break
            except ModelEmptyAnswer:
                if not self._nothing_left_to_say():
                    raise
                await self._end(StopReason.END_TURN)
                return
            except ContextOverflow:
                if attempt == _OVERFLOWS:
                    raise
                limit = limit_of(self.window, call.resolved)
                self.means.ledger.overflowed(call.resolved.handle, self.size, limit)
        assert call is not None
        assert answer is not None, "a model stream ends with an Answer"
        self.means.ledger.note(call.resolved.handle, self.size, answer.usage.prompt_tokens)
        done = self._answer(call, ids, timing, answer)
        async with aclosing(self._act(done)) as events:
            async for event in events:
                yield event
        self.means.observer.step_ended(self._seen(done))

    async def _fit(self, ids: StepIds, *, forced: bool) -> AsyncGenerator[Event]:
        """Make the next request, and compact the conversation until it fits; `forced` means that it did not."""
        ledger = self.means.ledger
        for number in range(_ROUNDS + 1):
            resolved = resolve(self.means.registry, self.window, self.request)
            shape = self.work.request.get("answer_format")
            call = build(self.window, self.request, self.inputs, self.rules, resolved, self._toolbox(), shape)
            self.call, self.size, limit = call, _size(call), limit_of(self.window, resolved)
            room = int(limit * TRIGGER_SHARE)
            if not forced and ledger.factor(resolved.handle) * self.size <= room:
                return
            fixed = ledger.tokens(resolved.handle, fixed_texts(call), ())
            if fixed >= limit:
                raise PromptOverflow(
                    f"the system prompt, memory blocks and tools take about {fixed} tokens, the context window of "
                    f"{resolved.handle} is {limit}: shorten them, detach tools, or choose a model with a larger window"
                )
            if number == _ROUNDS:
                break
            trigger = "context_window_exceeded" if forced else "context_window_threshold"
            occasion = Occasion(trigger, limit, fixed, resolved, call.request, self.work.id, ids.step, self.record)
            forced = False
            try:
                done = await compact(
                    self._write, self.means.registry, ledger, self.window, settings_of(self.window), occasion
                )
            except Conflict:
                # Somebody else did it at the same time, or emptied the window: there may be room now.
                read, work = self.means.database.read, self.work
                self.versions = await read(runs.current_versions, work.agent_id, work.conversation_id)
            else:
                if done is None:
                    break
                self.versions = done.versions
                yield Committed((done.message,))
            await self._go_on()
        messages = squeeze(call.request.messages, room - fixed, ledger.factor(resolved.handle))
        self.call = replace(call, request=replace(call.request, messages=messages))
        self.size = _size(self.call)

    async def _ask(self, call: Call, ids: StepIds, timing: Timing) -> AsyncGenerator[Delta | Answer]:
        """The model's answer, piece by piece, then whole. Raises letta.errors.ModelError."""
        held = frozenset(name for name in call.toolbox.names if call.toolbox.holds(name, self.rules))
        one_by_one, calls = call.one_by_one, set[int]()
        async with aclosing(call.resolved.model.stream(call.request)) as pieces:
            async for piece in pieces:
                if isinstance(piece, Answer):
                    if not piece.parts:
                        raise ModelEmptyAnswer(f"{call.resolved.handle} answered with nothing")
                    yield piece
                    continue
                if self.first_token_ns is None:
                    self.first_token_ns = perf_counter_ns() - self.started_ns
                if isinstance(piece, ToolCallDelta):
                    calls.add(piece.index)
                    if one_by_one and len(calls) > 1:
                        held = frozenset()  # what is not made does not wait
                if self.record is not None:
                    delta = Delta(ids.message, ids.step, timing.step_started_at, call.style.name, piece, held)
                    self.record.note(delta)
                    yield delta

    async def _act(self, step: Step) -> AsyncGenerator[Event]:
        """Carry out the calls of an answer: most in one transaction with it, those that leave the process after it."""
        toolbox = step.scene.toolbox
        waiting = frozenset(call.id for call in step.calls if toolbox.waits(call, self.rules))
        if not waiting and not any(toolbox.is_errand(call) for call in step.calls):
            done = await self._commit(commit.commit_step, step)
            yield Committed(done.messages, streamed=step.message_id)
            return
        done = await self._commit(commit.commit_answer, step, waiting)
        yield Committed(done.messages, streamed=step.message_id)
        if waiting:
            return
        await self._go_on()
        began = perf_counter_ns()
        known = await toolbox.run_errands(step.calls, self.rules, self._errand(step.id))
        self.tools_ns = perf_counter_ns() - began
        results = Results(step.scene, done.messages[-1], known)
        done = await self._commit(commit.commit_results, results)
        yield Committed(done.messages)

    def _answer(self, call: Call, ids: StepIds, timing: Timing, answer: Answer) -> Step:
        self.steps += 1
        self.usage = Used(self.usage.step_count + 1, added(self.usage.tokens, answer.usage), answer.usage.prompt_tokens)
        measured = Timing(
            timing.run_started_ns,
            timing.step_started_ns,
            timing.step_started_at,
            perf_counter_ns() - timing.step_started_ns,
            self.first_token_ns,
        )
        if call.one_by_one:
            answer = replace(answer, parts=transcript.one_by_one(answer.parts))
        is_last = self.steps >= (self.request.max_steps or self.means.max_steps)
        return Step(
            scene=self._scene(measured, call.toolbox, is_last=is_last),
            id=ids.step,
            message_id=ids.message,
            inputs=self.inputs,
            answer=answer,
            resolved=call.resolved,
            traced=self.window.traced,
            keeps_trace=self.means.keep_traces,
            configuration=self.window.configuration,
            is_recorded=self.window.recorded == self.window.configuration.digest,
        )

    async def _commit(self, function: Callable[..., Commit], *args: Any, shown: bool = True) -> Commit:
        """Run one of the transactions of a step, and note what it stored. `shown`: readers are told of it."""
        if self.record is None:
            return self._noted(await self._write(function, *args))
        async with self.record.committing(shown=shown):
            done = await self._write(function, *args)
        return self._noted(done)

    async def _hear(self) -> None:
        """Take in what others want to be heard with before the next step."""
        scene = self._scene(self._timing(), self._toolbox(), is_last=False)
        self.steered = False
        if self.record is None:
            done = await self._write(commit.commit_heard, scene)
        else:
            async with self.record.committing(shown=False):
                done = await self._write(commit.commit_heard, scene)
        if done is not None:
            self.joined(self._noted(done).others)

    async def _write(self, function: StoreFunction[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Let a transaction end even if the run is cancelled meanwhile.

        What it stored is told to the readers first: until `_go_on` nothing may be awaited.
        """
        done, is_cancelled = await to_the_end(self.means.database.write(function, *args, **kwargs))
        self.is_cancelled = self.is_cancelled or is_cancelled
        return done

    def _noted(self, done: Commit) -> Commit:
        """What was committed becomes part of the window."""
        self.inputs, self.rules, self.stop, self.steered = (), done.rules, done.stop, done.steered
        self.window.traced = done.traced or self.window.traced
        self.window.recorded = done.recorded or self.window.recorded
        self.means.windows.extend(self.work.conversation_id, list(done.messages), done.before, done.after)
        self.versions = done.after
        return done

    async def _go_on(self) -> None:
        """See the newest memory, too. Raises asyncio.CancelledError: the run was cancelled during a transaction."""
        if self.is_cancelled:
            raise asyncio.CancelledError
        self.window = await self.means.windows.get(self.work.agent_id, self.work.conversation_id, self.versions)

    # -- the end ------------------------------------------------------------------------------------------------------

    def _nothing_left_to_say(self) -> bool:
        """After a tool's result some models answer with nothing, which then means that they are done."""
        last = self.window.messages[-1] if self.window.messages else None
        return self.steps > 0 and not self.inputs and last is not None and last.role is Role.TOOL

    async def _end(self, stop: StopReason) -> None:
        """End the run without another message."""
        self.stop = stop
        await self._keep_pieces()
        if not await self._write(commit.record_end, self.work, stop, None, self.usage, self._timing()):
            raise commit.LostRun

    async def _fail(self, ids: StepIds, error: LettaError) -> Finished:
        """End the run with an error; the transcript stays as it was after the last committed step."""
        other = StopReason.LLM_API_ERROR if isinstance(error, ModelError) else StopReason.ERROR
        stop, failure, timing = _STOPS.get(type(error), other), failure_of(error), self._timing()
        log.warning("run failed: %s: %s", error.code, error.message)
        row = failed_step_row(self.work, ids.step, error, timing) if isinstance(error, ModelError) else None
        await self._keep_pieces()
        ended = await self._write(
            commit.record_end, self.work, stop, failure, self.usage, timing, row, repeatable=self.steps == 0
        )
        if not ended:
            raise commit.LostRun
        return Finished(stop, self.usage, failure)

    async def _keep_pieces(self) -> None:
        """Store what readers saw of a message that was never finished, before the run's row says that it ended."""
        if self.record is not None:
            await self.record.flush(self.means.database)

    # -- parts --------------------------------------------------------------------------------------------------------

    def _timing(self) -> Timing:
        return Timing(self.started_ns, perf_counter_ns(), now(), first_token_ns=self.first_token_ns)

    def _seen(self, step: Step) -> StepSeen:
        scene, tools_ns = step.scene, self.tools_ns
        self.tools_ns = 0
        return StepSeen(
            self.work,
            step.id,
            scene.agent.name,
            step.resolved.handle,
            step.resolved.name,
            step.resolved.provider,
            step.answer.usage,
            step.answer.finish_reason,
            scene.timing.step_started_at,
            perf_counter_ns() - scene.timing.step_started_ns,
            scene.timing.model_ns,
            tools_ns,
            self.first_token_ns if self.steps == 1 else None,
        )

    def _toolbox(self) -> Toolbox:
        return toolbox_of(self.window, self.request, self.means.runners)

    def _scene(self, timing: Timing, toolbox: Toolbox, *, is_last: bool) -> Scene:
        agent = self.window.agent
        style = style_of(agent.agent_type)
        return Scene(self.work, agent, toolbox, self.rules, style, self.usage, timing, is_last, self.record)

    def _errand(self, step_id: str) -> "_ErrandMaker":
        return _ErrandMaker(self.window, self.work, step_id)


def _turn(messages: Sequence[Message]) -> list[Message]:
    """What was said since the user last spoke: an answer to waiting calls goes on with the turn that asked."""
    spoken = [n for n, one in enumerate(messages) if one.role is Role.USER and not _in_between(one)]
    return list(messages[spoken[-1] :] if spoken else messages)


def _in_between(message: Message) -> bool:
    """Whether a message came in the middle of a turn: the server's own word, or one that somebody added."""
    return bool((message.data or {}).keys() & {"nudge", "steered"})


def _size(call: Call) -> int:
    """The estimated length of a request."""
    return estimate(fixed_texts(call), call.request.messages)


@dataclass(frozen=True, slots=True)
class _ErrandMaker:
    """Tells a tool that runs outside whose call it is."""

    window: Window
    work: Work
    step_id: str

    def __call__(self, part: ToolCallPart, tool: Tool) -> Errand:
        asked_by = tuple(self.work.request.get("asked_by", ()))
        return Errand(
            tool, {}, self.window.agent, self.work.conversation_id, self.work.id, self.step_id, part.id, asked_by
        )
