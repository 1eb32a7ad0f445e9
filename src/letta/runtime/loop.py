"""THE loop: one run of an agent, as a stream of events.

Each step asks the model, carries out its tool calls and commits everything in one transaction. No transaction is open
while a model is asked. Readers (HTTP, CLI, SDK) get what this generator yields and nothing else.
"""

import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace
from time import perf_counter_ns
from typing import NamedTuple

from letta.errors import LettaError, ModelCredits, ModelEmptyAnswer, ModelError
from letta.memory.window import Window, Windows
from letta.models.protocol import Answer
from letta.models.registry import Registry
from letta.runtime import commit, transcript
from letta.runtime.commit import Step, Timing
from letta.runtime.events import Committed, Delta, Event, Finished, RunUsage, added, failure_of
from letta.runtime.request import Call, build, resolve
from letta.schemas.common import new_id
from letta.schemas.messages import Message, Role
from letta.schemas.runs import StopReason
from letta.schemas.sends import SendRequest
from letta.store import traces
from letta.store.database import Database
from letta.store.query import now
from letta.store.runs import Versions, Work
from letta.tools.rules import RuleBook

log = logging.getLogger(__name__)

_STOPS: dict[type[LettaError], StopReason] = {
    ModelEmptyAnswer: StopReason.INVALID_LLM_RESPONSE,
    ModelCredits: StopReason.INSUFFICIENT_CREDITS,
}


@dataclass(frozen=True, slots=True)
class Means:
    """What a run works with."""

    database: Database
    registry: Registry
    windows: Windows
    max_steps: int
    keep_traces: bool


class StepIds(NamedTuple):
    """The ids of a step and of the message the model writes in it, known before it writes."""

    step: str
    message: str


@dataclass(slots=True)
class Progress:
    """How far a run is."""

    inputs: tuple[Message, ...]
    rules: RuleBook
    steps: int
    usage: RunUsage
    started_ns: int
    first_token_ns: int | None = None

    def timing(self) -> Timing:
        return Timing(self.started_ns, perf_counter_ns(), now(), first_token_ns=self.first_token_ns)


async def run(means: Means, work: Work, versions: Versions) -> AsyncGenerator[Event]:
    """Work on a run until it ends. The last event is `Finished`; the run's row says the same.

    A run that was interrupted goes on after its last committed step: what was paid for is not asked for again.

    Raises:
        letta.runtime.commit.LostRun: another process has the run now.
        letta.errors.StoreUnavailable: the database is gone; the run stays as it is and is taken up again later.
    """
    request = SendRequest.model_validate(work.request)
    window = await means.windows.get(work.agent_id, work.conversation_id, versions)
    progress = _begin(window, request, work)
    while True:
        ids, timing, answer = StepIds(new_id("step"), new_id("message")), progress.timing(), None
        try:
            resolved = resolve(means.registry, window, request)
            call = build(window, request, progress.inputs, progress.rules, resolved)
            async with aclosing(_ask(call, ids, timing)) as events:
                async for event in events:
                    if isinstance(event, Answer):
                        answer = event
                        continue
                    if progress.first_token_ns is None:
                        progress.first_token_ns = perf_counter_ns() - progress.started_ns
                    yield event
        except ModelEmptyAnswer as error:
            # After a tool's result some models say nothing when there is nothing left to say.
            said_all = bool(window.messages) and window.messages[-1].role is Role.TOOL and not progress.inputs
            failed = None if said_all and progress.steps else error
            yield await _ended_early(means, work, progress, ids, timing, failed)
            return
        except LettaError as error:
            yield await _ended_early(means, work, progress, ids, timing, error)
            return
        assert answer is not None, "a model stream ends with an Answer"
        is_last = progress.steps + 1 >= (request.max_steps or means.max_steps)
        step = _step(means, work, window, call, ids, timing, progress, answer, is_last=is_last)
        done = await means.database.write(commit.commit_step, step)
        means.windows.extend(work.conversation_id, list(done.messages), done.before, done.after)
        progress = replace(progress, inputs=(), rules=done.rules, steps=progress.steps + 1, usage=step.usage)
        yield Committed(done.messages, streamed=ids.message)
        if done.stop is not None:
            yield Finished(done.stop, progress.usage)
            return
        window = await means.windows.get(work.agent_id, work.conversation_id, done.after)


def _begin(window: Window, request: SendRequest, work: Work) -> Progress:
    """Where to start: with the caller's messages, or after the last committed step of an interrupted run."""
    rules = RuleBook(window.agent.tool_rules or ())
    mine = [message for message in window.messages if message.run_id == work.id]
    moment = now()
    inputs = () if mine else transcript.new_messages(request, work, moment)
    for message in mine:
        for result in message.tool_returns:
            rules.note(result.name or "", str(result.content))
    if lost := transcript.unanswered(window.messages):
        last = next(message for message in reversed(window.messages) if message.role is Role.ASSISTANT)
        inputs = (transcript.closing(lost, last, work, moment), *inputs)
    done = sum(message.role is Role.ASSISTANT for message in mine)
    return Progress(inputs, rules, done, commit.usage_from_json(work.usage), perf_counter_ns())


async def _ask(call: Call, ids: StepIds, timing: Timing) -> AsyncGenerator[Delta | Answer]:
    """The model's answer, piece by piece, then whole. Raises letta.errors.ModelError."""
    async with aclosing(call.resolved.model.stream(call.request)) as pieces:
        async for piece in pieces:
            if not isinstance(piece, Answer):
                yield Delta(ids.message, ids.step, timing.step_started_at, call.style.name, piece)
            elif not piece.parts:
                raise ModelEmptyAnswer(f"{call.resolved.handle} answered with nothing")
            else:
                yield piece


def _step(
    means: Means,
    work: Work,
    window: Window,
    call: Call,
    ids: StepIds,
    timing: Timing,
    progress: Progress,
    answer: Answer,
    *,
    is_last: bool,
) -> Step:
    tokens = answer.usage
    return Step(
        work=work,
        agent=window.agent,
        id=ids.step,
        message_id=ids.message,
        inputs=progress.inputs,
        answer=answer,
        resolved=call.resolved,
        toolbox=call.toolbox,
        rules=progress.rules,
        style=call.style,
        usage=RunUsage(progress.usage.step_count + 1, added(progress.usage.tokens, tokens), tokens.prompt_tokens),
        timing=replace(
            timing, model_ns=perf_counter_ns() - timing.step_started_ns, first_token_ns=progress.first_token_ns
        ),
        is_last=is_last,
        packed_trace=traces.pack(answer.request, answer.response) if means.keep_traces else None,
    )


async def _ended_early(
    means: Means, work: Work, progress: Progress, ids: StepIds, timing: Timing, error: LettaError | None
) -> Finished:
    """End a run whose model gave no answer; without an error there was nothing left to say."""
    failure, row, stop = None, None, StopReason.END_TURN
    if error is not None:
        other = StopReason.LLM_API_ERROR if isinstance(error, ModelError) else StopReason.ERROR
        failure, stop = failure_of(error), _STOPS.get(type(error), other)
        log.warning("run failed: %s: %s", error.code, error.message)
    if isinstance(error, ModelError):
        row = commit.failed_step(work, ids.step, error, timing)
    await means.database.write(commit.record_failure, work, stop, failure, progress.usage, timing, row)
    return Finished(stop, progress.usage, failure)
