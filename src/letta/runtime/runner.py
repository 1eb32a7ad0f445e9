"""Who works on which run, and when: one run at a time in a conversation, in the order the requests came in.

The database is the lock (one running run per conversation); the queue in this process only keeps the order fair without
asking the database again and again. A run goes on when the client that asked for it is gone.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from time import perf_counter_ns
from types import MappingProxyType
from typing import Any
from uuid import uuid4

from sqlalchemy.exc import IntegrityError

from letta import log as logs
from letta.errors import Conflict, LettaError, NotFound, StoreUnavailable
from letta.runtime import approvals, commit, loop
from letta.runtime.commit import LostRun
from letta.runtime.compact_now import compact_now
from letta.runtime.events import EventLog, Failure, Finished, RunUsage, failure_of
from letta.runtime.loop import Means
from letta.runtime.records import Timing
from letta.schemas.common import new_id
from letta.schemas.compaction import CompactionResponse, CompactionSettings
from letta.schemas.runs import StopReason
from letta.schemas.sends import SendRequest
from letta.store import runs
from letta.store.query import now
from letta.store.runs import Versions, Work

log = logging.getLogger(__name__)

_HEARTBEAT = 5.0
_RETRY_CLAIM = 0.25

AfterRun = Callable[[Work, Finished], Awaitable[None]]
"""Called once for each run that ended here, after its row says so."""


class Running:
    """A run this process takes care of."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.events = EventLog()
        self.task: asyncio.Task[None] | None = None
        self.cancelled = False


class Runner:
    """Accepts runs, works on them one after the other in each conversation, and takes up what others left behind.

    `alone` says that no other process can use the database (a SQLite file): then every run found running at the start
    was left behind.
    """

    def __init__(self, means: Means, *, alone: bool, grace: float) -> None:
        self._means = means
        self._alone = alone
        self._grace = grace
        self._owner = str(uuid4())
        self._running: dict[str, Running] = {}
        self._lanes: dict[str, deque[asyncio.Future[None]]] = {}
        self._stopping = False
        self.after_run: list[AfterRun] = []
        self._afterwards: set[asyncio.Task[None]] = set()
        self._upkeep: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Take up what an earlier process left behind, and begin to renew leases."""
        if self._alone:
            await self._means.database.write(runs.expire_all)
        await self._take_up()
        self._upkeep = asyncio.create_task(self._keep_up(), name="runner upkeep")

    async def close(self) -> None:
        """Let running steps finish for a while, then park what is left: the next start goes on with it."""
        self._stopping = True
        if self._upkeep is not None:
            self._upkeep.cancel()
            await asyncio.gather(self._upkeep, return_exceptions=True)
        tasks = [running.task for running in self._running.values() if running.task is not None]
        if tasks:
            _, unfinished = await asyncio.wait(tasks, timeout=self._grace)
            for task in unfinished:
                task.cancel()
            await asyncio.gather(*unfinished, return_exceptions=True)
        for after in self._afterwards:
            after.cancel()
        await asyncio.gather(*self._afterwards, return_exceptions=True)
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
    ) -> Running:
        """Accept a request: its run is stored when this returns, and worked on when its turn comes.

        `asked_by` are the agents that wait for what comes of it. `notes` are kept with the request: `group_id` marks
        every message of the run, `answer_format` is the shape the reply must have in place of the agent's own.

        Raises:
            letta.errors.NotFound: no such agent or conversation.
            letta.errors.PendingApproval: calls wait for an answer, and the request is none.
        """
        if self._stopping:
            raise StoreUnavailable("The server is stopping; send the request again.")
        body = request.model_dump(mode="json", exclude_unset=True)
        body |= notes
        if asked_by:
            body["asked_by"] = list(asked_by)
        work = Work(new_id("run"), agent_id, conversation_id, body, background, 1, now())
        ticket = self._join(conversation_id)
        try:
            versions = await self._accept(work, first=ticket.done(), answers=approvals.is_answer(request))
        except BaseException:
            self._leave(conversation_id, ticket)
            raise
        return self._begin(work, ticket, versions)

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
        return {run_id: "cancelled" if await self._cancel(run_id) else "failed" for run_id in run_ids}

    async def _cancel(self, run_id: str) -> bool:
        database = self._means.database
        if await database.write(runs.end_waiting, run_id, StopReason.CANCELLED, "cancelled"):
            if (running := self._running.get(run_id)) and running.task:
                running.cancelled = True
                running.task.cancel()
            return True
        if not await database.write(runs.request_cancel, run_id):
            return False
        running = self._running.get(run_id)
        if running is None or running.task is None:
            return True
        running.cancelled = True
        running.task.cancel()
        finished = await running.events.wait()
        return finished.stop_reason is StopReason.CANCELLED

    async def compact(
        self, agent_id: str, conversation_id: str, override: CompactionSettings | None
    ) -> CompactionResponse:
        """Compact a conversation now, between two runs. With nothing to evict, the window stays as it is.

        Raises:
            letta.errors.NotFound: no such agent or conversation.
            letta.errors.Conflict: another process changed the conversation meanwhile.
        """
        ticket = self._join(conversation_id)
        try:
            await ticket
            return await compact_now(self._means, agent_id, conversation_id, override)
        finally:
            self._leave(conversation_id, ticket)

    # -- one run ------------------------------------------------------------------------------------------------------

    async def _accept(self, work: Work, *, first: bool, answers: bool) -> Versions | None:
        """Store the run; the versions it starts from when it may start at once."""
        database, metadata = self._means.database, {"run_type": "send_message"}
        if first:
            try:
                return await database.write(
                    runs.accept, work, owner=self._owner, running=True, answers=answers, metadata=metadata
                )
            except IntegrityError:
                log.debug("conversation %s is busy in another process", work.conversation_id)
        await database.write(
            runs.accept, work._replace(attempt=0), owner=self._owner, running=False, answers=answers, metadata=metadata
        )
        return None

    def _begin(self, work: Work, ticket: asyncio.Future[None], versions: Versions | None) -> Running:
        running = Running(work)
        self._running[work.id] = running
        running.task = asyncio.create_task(self._drive(running, ticket, versions), name=work.id)
        return running

    async def _drive(self, running: Running, ticket: asyncio.Future[None], versions: Versions | None) -> None:
        """Wait for the run's turn, work on it, and always end its events."""
        started = perf_counter_ns()
        conversation_id = running.work.conversation_id
        try:
            with logs.bind(run_id=running.work.id, agent_id=running.work.agent_id):
                await ticket
                if versions is None:
                    versions = await self._claim(running)
                if versions is not None:
                    await self._work(running, versions)
        except asyncio.CancelledError:
            if running.cancelled:
                await self._end(running, StopReason.CANCELLED, None, started)
        except LostRun:
            # Cancelled by somebody, here or elsewhere, or taken over: only the first leaves it to us to end it.
            await self._end(running, StopReason.CANCELLED, None, started)
        except StoreUnavailable:
            # Its lease runs out, and whoever reaches the database then goes on with it.
            log.exception("run %s is left to be taken up again", running.work.id)
        except Exception as error:
            # Nothing may leave a run without an end: its row and its readers get one whatever went wrong.
            log.exception("run %s failed", running.work.id)
            failure = _failure(error)
            await self._end(running, StopReason.ERROR, failure, started)
        finally:
            self._leave(conversation_id, ticket)
            if running.events.finished:
                self._call_after(running.work, running.events.finished)
            else:
                reason = StopReason.CANCELLED if running.cancelled else StopReason.ERROR
                parked = None if running.cancelled else Failure("stream_incomplete", "The run was interrupted", 503)
                running.events.publish(Finished(reason, RunUsage(), parked))
            self._running.pop(running.work.id, None)

    def _call_after(self, work: Work, finished: Finished) -> None:
        """Let those know who wait for runs to end; nobody waits for them."""
        for hook in self.after_run:
            task = asyncio.create_task(self._after(hook, work, finished), name=f"after {work.id}")
            self._afterwards.add(task)
            task.add_done_callback(self._afterwards.discard)

    async def _after(self, hook: AfterRun, work: Work, finished: Finished) -> None:
        with logs.bind(run_id=work.id, agent_id=work.agent_id):
            try:
                await hook(work, finished)
            except Exception:
                # The run is over and answered: what comes after it must not reach anybody but the operator.
                log.exception("what follows a run failed")

    async def _work(self, running: Running, versions: Versions) -> None:
        async with aclosing(loop.run(self._means, running.work, versions)) as events:
            async for event in events:
                running.events.publish(event)

    async def _claim(self, running: Running) -> Versions | None:
        """Take the run when no other process works on the conversation. None when it was cancelled meanwhile."""
        database = self._means.database
        while True:
            try:
                work = await database.write(runs.claim, running.work.id, self._owner)
            except IntegrityError:
                await asyncio.sleep(_RETRY_CLAIM)
                continue
            if work is None:
                return None
            running.work = work
            return await database.read(runs.current_versions, work.agent_id, work.conversation_id)

    async def _end(self, running: Running, stop: StopReason, failure: Failure | None, started: int) -> None:
        """Write a run's end that the loop could not write. The window is read anew: it may be half a step ahead."""
        self._means.windows.forget(running.work.conversation_id)
        timing = Timing(started, started, now())
        try:
            await self._means.database.write(commit.record_end, running.work, stop, failure, RunUsage(), timing, None)
        except LettaError:
            log.exception("the end of run %s could not be stored", running.work.id)
        running.events.publish(Finished(stop, RunUsage(), failure))

    # -- the queue of a conversation ----------------------------------------------------------------------------------

    def _join(self, conversation_id: str) -> asyncio.Future[None]:
        """A place in the conversation's queue; done when it is the first."""
        lane = self._lanes.setdefault(conversation_id, deque())
        ticket: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if not lane:
            ticket.set_result(None)
        lane.append(ticket)
        return ticket

    def _leave(self, conversation_id: str, ticket: asyncio.Future[None]) -> None:
        lane = self._lanes[conversation_id]
        lane.remove(ticket)
        if not lane:
            del self._lanes[conversation_id]
        elif not lane[0].done():
            lane[0].set_result(None)

    # -- upkeep -------------------------------------------------------------------------------------------------------

    async def _keep_up(self) -> None:
        while True:
            await asyncio.sleep(_HEARTBEAT)
            try:
                await self._means.database.write(runs.renew, self._owner)
                for run_id in await self._means.database.read(runs.to_cancel, self._owner):
                    if (running := self._running.get(run_id)) and running.task:
                        running.cancelled = True
                        running.task.cancel()
                await self._take_up()
            except StoreUnavailable:
                log.warning("the database does not answer; leases are not renewed")

    async def _take_up(self) -> None:
        """Queue every run that nobody works on."""
        for work in await self._means.database.read(runs.abandoned):
            if work.id not in self._running:
                log.info("taking up run %s", work.id)
                self._begin(work, self._join(work.conversation_id), None)


def _failure(error: Exception) -> Failure:
    if isinstance(error, NotFound):
        return failure_of(error)
    return Failure("internal_error", "An unknown error occurred", 500)
