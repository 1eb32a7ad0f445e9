"""Who works on which run, and when: one run at a time in a conversation, in the order the requests came in.

The database is the lock (one running run per conversation); the queue in this process only keeps the order fair without
asking the database again and again. A run goes on when the client that asked for it is gone.
"""

import asyncio
import logging
from collections.abc import Container, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from time import perf_counter_ns
from types import MappingProxyType
from typing import Any
from uuid import uuid4

from letta import log as logs
from letta.errors import Busy, Conflict, InterruptedTooOften, LettaError, StoreUnavailable
from letta.runtime import approvals, commit, loop
from letta.runtime.afterwards import Afterwards
from letta.runtime.arrival import take_turn
from letta.runtime.cancelling import to_the_end
from letta.runtime.commit import LostRun
from letta.runtime.compact_now import compact_now
from letta.runtime.events import Committed, Failure, Finished, RunUsage
from letta.runtime.lanes import Lanes, Ticket
from letta.runtime.loop import Means
from letta.runtime.recording import Record
from letta.runtime.records import Timing
from letta.runtime.running import CANCEL, FREED, INTERRUPTED, PROGRESS, STOPPING, Running, failure_of_run, too_late
from letta.runtime.unowned import DEFAULT_SLOTS, Unowned
from letta.schemas.common import new_id
from letta.schemas.compaction import CompactionResponse, CompactionSettings
from letta.schemas.runs import StopReason
from letta.schemas.sends import SendRequest
from letta.store import accepting, runs
from letta.store.accepting import Accepted
from letta.store.notices import Notices, rung
from letta.store.query import now
from letta.store.repeats import PLAIN, Arrival, SentBefore
from letta.store.runs import Versions, Work

log = logging.getLogger(__name__)

_HEARTBEAT = 2.5
_RETRY_CLAIM = 0.25
_ANSWERED = 10_000
_MOST_ATTEMPTS = 20
"""How often a run is taken up: one that kills its server, or cannot be stored, must not do so for ever."""
_FOLLOWED = 30.0
_SHARE, _SHARE_UNHEARD = 0.05, 0.25


class Runner:
    """Accepts runs, works on them one after the other in each conversation, and takes up what others left behind.

    `alone` says that no other process can use the database (a SQLite file): then every run found running at the start
    was left behind. Without `execute` runs are only accepted, for other processes to work on. `slots` is how many runs
    that belong to nobody are worked on here at once. `notices` are how this and other processes wake each other up.
    """

    def __init__(
        self,
        means: Means,
        *,
        alone: bool,
        grace: float,
        execute: bool = True,
        slots: int = DEFAULT_SLOTS,
        notices: Notices | None = None,
    ) -> None:
        self._means = means
        self._alone = alone
        self._grace = grace
        self._notices = notices or Notices()
        self._notices.listen(CANCEL, self._cancel_asked)
        self._notices.when_wanted(PROGRESS, self._followed)
        self._execute = execute
        self._owner = str(uuid4())
        self._unowned = Unowned(means.database, self._notices, self._begin_taken, owner=self._owner, slots=slots)
        self._running: dict[str, Running] = {}
        self._lanes = Lanes()
        self._answered: dict[str, None] = {}
        self._stopping = False
        self.afterwards = Afterwards()
        self._upkeep: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Take up what an earlier process left behind, and begin to renew leases."""
        if self._alone:
            await self._means.database.write(runs.expire_all)
        if self._execute:
            await self._take_up()
            self._unowned.start()
        self._upkeep = asyncio.create_task(self._keep_up(), name="runner upkeep")

    async def close(self) -> None:
        """Let running steps finish for a while, then park what is left: the next start goes on with it."""
        self._stopping = True
        self._notices.tell(STOPPING)
        await self._unowned.stop()
        if self._upkeep is not None:
            self._upkeep.cancel()
            await asyncio.gather(self._upkeep, return_exceptions=True)
        tasks = [running.task for running in self._running.values() if running.task is not None]
        if tasks:
            _, unfinished = await asyncio.wait(tasks, timeout=self._grace)
            for task in unfinished:
                task.cancel()
            await asyncio.gather(*unfinished, return_exceptions=True)
        await self.afterwards.close()
        await self._means.database.write(runs.release, self._owner)

    async def start(
        self,
        agent_id: str,
        conversation_id: str,
        request: SendRequest,
        *,
        background: bool = False,
        asked_by: Sequence[str] = (),
        notes: Mapping[str, Any] = MappingProxyType({}),
        arrival: Arrival = PLAIN,
    ) -> Running:
        """Accept a request: its run is stored when this returns, and worked on when its turn comes.

        `asked_by` are the agents that wait for what comes of it. `notes` are kept with the request: `group_id` marks
        every message of the run, `answer_format` is the shape the reply must have in place of the agent's own.
        `arrival` says what to do while the conversation is busy, and how to know a request that was sent before: then
        the run that is there already is the answer.

        Raises:
            letta.errors.NotFound: no such agent or conversation.
            letta.errors.PendingApproval: calls wait for an answer, and the request is none.
            letta.errors.Busy: the conversation has its turn, and the request is not to wait.
            letta.errors.InvalidValue: the key of the request is that of another request.
        """
        if self._stopping:
            raise StoreUnavailable("The server is stopping; send the request again.")
        body = request.model_dump(mode="json", exclude_unset=True)
        body |= notes
        if asked_by:
            body["asked_by"] = list(asked_by)
        work = Work(new_id("run"), agent_id, conversation_id, body, background, 1, now())
        arrival = replace(arrival, policy=request.busy_policy or arrival.policy, answered=self._answered)
        ticket = self._lanes.join(conversation_id)
        try:
            accepted = await self._accept(
                work, arrival, first=ticket.done() and self._execute, answers=approvals.is_answer(request)
            )
        except SentBefore as before:
            self._lanes.leave(conversation_id, ticket)
            return await self.follow(before.run_id or "")
        except BaseException:
            self._lanes.leave(conversation_id, ticket)
            raise
        if not self._execute:
            self._lanes.leave(conversation_id, ticket)
            self.look()
            if accepted.in_the_way is not None:
                await self._cancel(accepted.in_the_way)
            return await self.follow(work.id)
        if accepted.running:
            work = work._replace(leads_sleeptime=accepted.leads_sleeptime)
        running = self._begin(work, ticket, accepted.versions if accepted.running else None)
        if accepted.in_the_way is not None:
            await self._clear_way(running, accepted.in_the_way)
        return running

    async def follow(self, run_id: str) -> Running:
        """A run that was accepted before. One that is not worked on here says no more than that it goes on elsewhere.

        Raises:
            letta.errors.NotFound: no such run.
        """
        if (running := self._running.get(run_id)) is not None:
            return running
        known = Running(await self._means.database.read(runs.work, run_id))
        known.events.publish(INTERRUPTED)
        return known

    @property
    def stopping(self) -> bool:
        """Whether nothing new is accepted any more."""
        return self._stopping

    @property
    def answered(self) -> Container[str]:
        """What was noted as answered; kept for the last ones only."""
        return self._answered

    def note_answered(self, made_id: str) -> None:
        """The caller has the answer of a run, batch or schedule: what merely looks like a retry of it is none."""
        self._answered[made_id] = None
        if len(self._answered) > _ANSWERED:
            del self._answered[next(iter(self._answered))]

    def get(self, run_id: str) -> Running | None:
        """The run, if this process works on it or has just finished it."""
        return self._running.get(run_id)

    async def cancel(self, run_ids: Sequence[str]) -> dict[str, str]:
        """Stop runs, whatever they are doing. Answers `cancelled` or `failed` for each.

        Raises:
            letta.errors.Conflict: there is nothing to cancel.
        """
        if not run_ids:
            raise Conflict("No active runs to cancel")
        return {run_id: "cancelled" if await self._is_cancelled(run_id) else "failed" for run_id in run_ids}

    async def _is_cancelled(self, run_id: str) -> bool:
        """Cancel a run. One that has ended may have been cancelled together with the one that answered for it."""
        return await self._cancel(run_id) or await self._means.database.read(
            runs.ended_so, run_id, StopReason.CANCELLED
        )

    async def _cancel(self, run_id: str) -> bool:
        database = self._means.database
        if await database.write(runs.end_waiting, run_id, StopReason.CANCELLED, "cancelled"):
            if running := self._running.get(run_id):
                running.cancel()
            return True
        if not await database.write(runs.request_cancel, run_id):
            return False
        running = self._running.get(run_id)
        if running is None or running.task is None:
            self._notices.tell(f"{CANCEL}{run_id}", everybody=True)
            return True
        running.cancel()
        finished = await running.events.wait()
        return finished.stop_reason is StopReason.CANCELLED

    def _cancel_asked(self, topic: str) -> None:
        """Another process wrote down that a run is to be cancelled."""
        running = self._running.get(topic.removeprefix(CANCEL))
        if running is not None:
            running.cancel()

    async def compact(
        self, agent_id: str, conversation_id: str, override: CompactionSettings | None
    ) -> CompactionResponse:
        """Compact a conversation now, between two runs. With nothing to evict, the window stays as it is.

        Raises:
            letta.errors.NotFound: no such agent or conversation.
            letta.errors.Conflict: another process changed the conversation meanwhile.
        """
        ticket = self._lanes.join(conversation_id)
        try:
            await ticket
            return await compact_now(self._means, agent_id, conversation_id, override)
        finally:
            self._lanes.leave(conversation_id, ticket)

    # -- one run ------------------------------------------------------------------------------------------------------

    async def _accept(self, work: Work, arrival: Arrival, *, first: bool, answers: bool) -> Accepted:
        """Store the run; it runs at once if it is the `first` and no other process works on the conversation.

        Raises:
            letta.store.repeats.SentBefore: with the id of the run.
        """
        database, metadata = self._means.database, {"run_type": "send_message"}
        while True:
            try:
                return await database.write(
                    accepting.accept,
                    work,
                    owner=self._owner if self._execute else None,
                    running=first,
                    answers=answers,
                    metadata=metadata,
                    arrival=arrival,
                )
            except Busy:
                if not first:
                    raise
                log.debug("conversation %s is busy in another process", work.conversation_id)
                first = False
            except SentBefore as before:
                if before.run_id is not None:
                    raise
                # None when it was so long ago that its key counts no more.
                found = await database.write(accepting.sent_before, work.agent_id, work.conversation_id, arrival)
                if found is not None:
                    raise SentBefore(found) from None

    async def _clear_way(self, running: Running, in_the_way: str) -> None:
        """Let a run have its turn next, and cancel the one that has it."""
        if running.ticket is not None:
            self._lanes.put_next(running.work.conversation_id, running.ticket)
        try:
            await self._cancel(in_the_way)
        except StoreUnavailable:
            # The request is accepted all the same; it waits for the end of the turn that should have been cancelled.
            log.warning("run %s could not be cancelled: the database does not answer", in_the_way)

    def _begin(self, work: Work, ticket: Ticket, versions: Versions | None) -> Running:
        running = Running(work, ticket)
        self._running[work.id] = running
        self._notices.tell(running.topic)
        if (seconds := work.request.get("deadline_seconds")) is not None:
            left = seconds - (now() - work.created_at).total_seconds()
            running.deadline = asyncio.get_running_loop().call_later(max(0.0, left), running.expire)
        running.task = asyncio.create_task(self._drive(running, ticket, versions), name=work.id)
        return running

    async def _drive(self, running: Running, ticket: Ticket, versions: Versions | None) -> None:
        """Wait for the run's turn, work on it, and always end its events."""
        started = perf_counter_ns()
        conversation_id = running.work.conversation_id
        try:
            with logs.bind(run_id=running.work.id, agent_id=running.work.agent_id):
                await ticket
                if running.answered_by is not None:
                    await self._listen(running, *running.answered_by)
                elif versions := versions or await self._claim(running):
                    await self._work(running, versions)
        except asyncio.CancelledError:
            if running.cancelled:
                await self._end(running, StopReason.CANCELLED, None, started)
            elif running.expired:
                await self._end(running, StopReason.ERROR, too_late(running.work), started)
        except LostRun:
            # Cancelled by somebody, here or elsewhere, or taken over: only the first leaves it to us to end it.
            await self._end(running, StopReason.CANCELLED, None, started)
        except StoreUnavailable as error:
            # Its lease runs out, and whoever reaches the database then goes on with it.
            running.left = error
            log.exception("run %s is left to be taken up again", running.work.id)
        except Exception as error:
            # Nothing may leave a run without an end: its row and its readers get one whatever went wrong.
            log.exception("run %s failed", running.work.id)
            failure = failure_of_run(error)
            await self._end(running, StopReason.ERROR, failure, started)
        finally:
            self._lanes.leave(conversation_id, ticket)
            self._put_away(running)

    def _put_away(self, running: Running) -> None:
        """A run is over for this process: its readers are told, and whoever waits for it."""
        for timer in (running.sharing, running.deadline):
            if timer is not None:
                timer.cancel()
        finished = running.events.finished
        if finished is None:
            running.events.publish(INTERRUPTED)
        elif finished.stored and running.answered_by is None:
            self.afterwards.call(running.work, finished)
        if finished is not None and finished.stored:
            self._means.observer.run_ended(running.work, finished)
        else:
            self._means.observer.run_left(running.work)
        self._running.pop(running.work.id, None)
        self._notices.tell(running.topic)
        self._notices.tell(f"{FREED}{running.work.conversation_id}")
        self._unowned.ended(running.work.id)

    async def _work(self, running: Running, versions: Versions) -> None:
        if running.work.attempt > _MOST_ATTEMPTS:
            raise InterruptedTooOften(
                f"run {running.work.id} was interrupted {_MOST_ATTEMPTS} times: it may be what ends the server, or "
                "something of it cannot be stored; the server's log says more"
            )
        waited = (now() - running.work.created_at).total_seconds()
        self._means.observer.run_began(running.work, waited)
        if running.work.request.get("stream_tokens"):
            running.record = Record(running.work)
            self._share(running)

        def joined(others: Sequence[str]) -> None:
            self._answer_for(running, others)

        async with aclosing(loop.run(self._means, running.work, versions, running.record, joined)) as events:
            async for event in events:
                running.events.publish(event)
                if isinstance(event, Committed):
                    self._notices.tell(running.topic)

    def _followed(self, topic: str) -> None:
        """A reader in another process waits for what happens in a run."""
        running = self._running.get(topic.removeprefix(PROGRESS))
        if running is not None:
            running.followed_until = asyncio.get_running_loop().time() + _FOLLOWED
            self._notices.tell(topic)
            self._share(running)

    def _share(self, running: Running) -> None:
        """Store pieces as they come while readers elsewhere follow the run, or may do so unheard."""
        if running.record is not None and running.sharing is None and not self._notices.alone:
            running.sharing = asyncio.create_task(self._share_pieces(running, running.record), name="pieces")

    async def _share_pieces(self, running: Running, record: Record) -> None:
        clock = asyncio.get_running_loop()
        while not self._notices.reach or clock.time() < running.followed_until:
            await asyncio.sleep(_SHARE if self._notices.reach else _SHARE_UNHEARD)
            try:
                if await record.flush(self._means.database):
                    self._notices.tell(running.topic)
            except StoreUnavailable:
                log.debug("pieces of run %s are stored later", running.work.id)
        running.sharing = None

    async def _claim(self, running: Running) -> Versions | None:
        """Take the run when no other process works on the conversation. None when it was cancelled meanwhile."""
        try:
            # Most often it is free; others need not be told that somebody waits for it.
            return await self._take_turn(running)
        except Busy:
            log.debug("conversation %s is busy in another process", running.work.conversation_id)
        with self._notices.watch(f"{FREED}{running.work.conversation_id}") as freed:
            while True:
                freed.clear()
                try:
                    return await self._take_turn(running)
                except Busy:
                    await rung(freed, _RETRY_CLAIM)

    async def _take_turn(self, running: Running) -> Versions | None:
        turn, is_cancelled = await to_the_end(self._means.database.write(take_turn, running.work.id, self._owner))
        if turn is not None:
            running.work = turn.work
            self._answer_for(running, turn.others)
        if is_cancelled:
            # Not before: the end is stored for the attempt that was begun.
            raise asyncio.CancelledError
        return None if turn is None else turn.versions

    def _answer_for(self, running: Running, others: Sequence[str]) -> None:
        """From here on a run answers for others that wait: those that wait here need not any more."""
        for run_id in others:
            other = self._running.get(run_id)
            if other is not None and other.answered_by is None:
                other.answered_by = running, len(running.events.events)
                if other.ticket is not None and not other.ticket.done():
                    other.ticket.set_result(None)

    async def _listen(self, running: Running, speaker: Running, start: int) -> None:
        """What another run says is this one's answer, too."""
        async for batch in speaker.events.batches(start):
            for event in batch:
                running.events.publish(event)
        running.left = speaker.left

    async def _end(self, running: Running, stop: StopReason, failure: Failure | None, started: int) -> None:
        """Write a run's end that the loop could not write. The window is read anew: it may be half a step ahead."""
        self._means.windows.forget(running.work.conversation_id)
        timing, database, stored = Timing(started, started, now()), self._means.database, False
        try:
            if running.record is not None:
                await running.record.flush(database)
            stored = await database.write(commit.record_end, running.work, stop, failure, RunUsage(), timing, None)
            if not stored and running.expired and failure is not None:
                error = {"type": failure.type, "message": failure.message, "detail": failure.detail}
                stored = await database.write(runs.end_waiting, running.work.id, stop, stop.run_status, error)
                if not stored:
                    # It came to its own end at the last moment, and that is what its readers are to see.
                    running.events.publish(INTERRUPTED)
                    return
            # One that is not ours any more goes on elsewhere, or has an end that its readers find in its row.
            stored = stored or await database.read(runs.ended_so, running.work.id, stop)
        except LettaError as error:
            log.exception("the end of run %s could not be stored", running.work.id)
            running.left = error if isinstance(error, StoreUnavailable) else None
        running.events.publish(Finished(stop, RunUsage(), failure, stored))

    # -- upkeep -------------------------------------------------------------------------------------------------------

    async def _keep_up(self) -> None:
        while True:
            await asyncio.sleep(_HEARTBEAT)
            try:
                await self._means.database.write(runs.renew, self._owner, tuple(self._running))
                for run_id in await self._means.database.read(runs.to_cancel, self._owner):
                    if running := self._running.get(run_id):
                        running.cancel()
                if self._execute:
                    await self._take_up()
            except StoreUnavailable:
                log.warning("the database does not answer; leases are not renewed")
            except Exception:
                # Without this task no lease is renewed: nothing that goes wrong once may end it.
                log.exception("upkeep of runs failed; it goes on")

    def look(self) -> None:
        """Say, to every process, that there may be runs that belong to nobody."""
        self._unowned.tell()

    async def _take_up(self) -> None:
        """Queue every run that nobody works on."""
        for work in await self._means.database.read(runs.abandoned):
            if work.id not in self._running:
                log.info("taking up run %s", work.id)
                self._begin_taken(work)

    def _begin_taken(self, work: Work) -> None:
        """Wait for the turn of a run that another process accepted.

        One that had begun is, in the database, the running one of its conversation: whoever has the turn here waits for
        its end, so it must not wait for them.
        """
        self._begin(work, self._lanes.join(work.conversation_id, at_once=work.attempt > 0), None)
