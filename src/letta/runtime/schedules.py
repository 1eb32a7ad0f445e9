"""Acts on schedules: when a time comes, its message becomes a run that any process may work on.

The run, the record of the time and the next time are one transaction, which only the first process can make: so each
time counts once, however many processes look and whenever one of them dies. Nothing here knows HTTP.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from time import monotonic
from typing import Any

from letta.errors import InvalidValue, StoreUnavailable
from letta.runtime import cron
from letta.schemas.common import new_id
from letta.schemas.schedules import CatchUp, CreateSchedule, OneTime, Outcome, ScheduleCreated
from letta.schemas.sends import SendRequest
from letta.store import agents, schedules
from letta.store.access import Database
from letta.store.query import now
from letta.store.repeats import PLAIN, Arrival, SentBefore
from letta.store.runs import Work
from letta.store.schedules import Due, Firing

log = logging.getLogger(__name__)

PREFIX = "schedule"
LATE = timedelta(seconds=60)
"""A time is acted on as if it were now for so long; after that it was missed."""

_LONGEST_PAUSE = 1.0
"""Seconds; so long may pass until a schedule made by another process, or a jump of the clock, is noticed."""
_ROUTINE, _RETRY = 60.0, 5.0
_JUMP = 30.0
_AT_ONCE = 100
_FAILED_PAUSE = 300.0

Clock = Callable[[], datetime]


class Schedules:
    """The schedules of a database. `started` is called when runs were added.

    `alone` says that no other process can use the database. `clock` tells the time (tests have their own).
    """

    def __init__(
        self, database: Database, started: Callable[[], None], *, alone: bool = False, clock: Clock = now
    ) -> None:
        self._database, self._started, self._clock = database, started, clock
        # Who is alone makes all schedules, so there is nothing to look for while there are none.
        self._idle = _ROUTINE if alone else _LONGEST_PAUSE
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._failed: dict[str, float] = {}
        self._routine_at = 0.0
        self._offset: float | None = None

    def start(self) -> None:
        """Begin to act on times."""
        self._task = asyncio.create_task(self._keep_time(), name="schedules")

    async def stop(self) -> None:
        """Leave what comes to the next process, or the next start."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def create(self, agent_id: str, body: CreateSchedule, arrival: Arrival = PLAIN) -> ScheduleCreated:
        """Store a schedule. One that was sent before, as `arrival` tells, is the schedule that is there already.

        Raises:
            letta.errors.NotFound: no such agent.
            letta.errors.InvalidValue: a cron expression that never comes true, a time that has passed, or the key of
                another schedule.
        """
        while (known := await self._database.read(schedules.sent_before, agent_id, arrival)) is None:
            try:
                return await self._store(agent_id, body, arrival)
            except SentBefore:
                log.debug("the same schedule of agent %s was sent at the same moment", agent_id)
        found = await self._database.read(schedules.get, agent_id, known)
        return ScheduleCreated(id=known, next_scheduled_at=found.next_scheduled_time)

    async def _store(self, agent_id: str, body: CreateSchedule, arrival: Arrival) -> ScheduleCreated:
        zone = await self._database.read(agents.timezone, agent_id)
        request = body.model_dump(
            mode="json", include={"messages", "callback_url", "include_return_message_types", "max_steps"},
            exclude_none=True,
        )  # fmt: skip
        expression, own_zone, moment = None, None, self._clock()
        if isinstance(body.schedule, OneTime):
            request["scheduled_at"] = body.schedule.scheduled_at
            first, own_zone = body.schedule.moment, "UTC"
            if first < moment - LATE:
                raise InvalidValue(f"schedule.scheduled_at: {first.isoformat()} has passed")
        else:
            expression, own_zone = body.schedule.cron_expression, body.schedule.timezone
            first = cron.check(expression, own_zone or zone, moment)
        schedule_id = new_id(PREFIX)
        await self._database.write(
            schedules.add,
            schedule_id,
            agent_id,
            request,
            cron=expression,
            timezone=own_zone,
            when_busy=body.when_busy,
            catch_up=body.catch_up,
            next_at=first,
            arrival=arrival,
        )
        self._changed.set()
        return ScheduleCreated(id=schedule_id, next_scheduled_at=first)

    # -- time passes --------------------------------------------------------------------------------------------------

    async def _keep_time(self) -> None:
        while True:
            pause = _LONGEST_PAUSE
            try:
                await self._look_at_the_clock()
                pause = await self.act()
            except StoreUnavailable:
                log.warning("the database does not answer; schedules wait")
                pause = _RETRY
            except Exception:
                # Schedules of every agent depend on this task: it goes on whatever happens to one of them.
                log.exception("schedules could not be looked at")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), pause)
            self._changed.clear()

    async def act(self) -> float:
        """Act on all times that have come. Returns the seconds until it should be done again."""
        moment = self._clock()
        first = await self._database.read(schedules.earliest)
        if first is None:
            return self._idle
        if first > moment:
            return min((first - moment).total_seconds(), _LONGEST_PAUSE)
        while found := await self._database.read(schedules.due, moment, _AT_ONCE):
            ready = [one for one in found if self._failed.get(one.id, 0.0) < monotonic()]
            for one in ready:
                await self._act_on(one, moment)
            if len(ready) < len(found):
                # Those that failed are tried again later.
                return _LONGEST_PAUSE
        return 0.0

    async def _act_on(self, one: Due, moment: datetime) -> None:
        try:
            outcome = await self._database.write(schedules.fire, _firing(one, moment))
        except StoreUnavailable:
            raise
        except Exception:
            # One that cannot be acted on does not keep the others from it.
            self._failed[one.id] = monotonic() + _FAILED_PAUSE
            log.exception("schedule %s of agent %s failed; it is tried again later", one.id, one.agent_id)
            return
        if outcome is Outcome.STARTED:
            self._started()
        if outcome is not None:
            log.info("schedule %s of agent %s: %s", one.id, one.agent_id, outcome.value)

    async def _look_at_the_clock(self) -> None:
        """Find next times anew where a time zone was changed or the clock was put back."""
        moment, ticks = self._clock(), monotonic()
        offset = moment.timestamp() - ticks
        back = self._offset is None or offset < self._offset - _JUMP
        self._offset = offset
        if back:
            # Also at the start: an earlier process may have looked at a clock that was ahead.
            for one in await self._database.read(schedules.ahead, moment):
                await self._find_again(one, one.timezone, moment)
        if back or ticks >= self._routine_at:
            self._routine_at = ticks + _ROUTINE
            for one, zone in await self._database.read(schedules.moved):
                await self._find_again(one, zone, moment)

    async def _find_again(self, one: Due, zone: str, moment: datetime) -> None:
        assert one.cron is not None, "only recurring schedules are asked for"
        found = cron.following(one.cron, zone, moment)
        if (zone, found) != (one.timezone, one.next_at):
            await self._database.write(schedules.move, one, zone, found)


def _firing(one: Due, moment: datetime) -> Firing:
    """What to do about a time that has come."""
    last, missed, following = one.next_at, 0, None
    if one.cron is not None:
        last, missed = cron.due(one.cron, one.timezone, one.next_at, moment)
        following = cron.following(one.cron, one.timezone, moment)
    late = moment - last > LATE
    if late and one.catch_up is CatchUp.SKIP:
        detail = "the time passed while no server was running"
        return Firing(one.id, one.agent_id, one.next_at, last, missed, following, None, detail)
    note = f"{missed} earlier times passed while no server was running" if missed else None
    return Firing(one.id, one.agent_id, one.next_at, last, missed, following, _work(one), note)


def _work(one: Due) -> Work:
    fields: dict[str, Any] = {name: value for name, value in one.request.items() if name != "scheduled_at"}
    request = SendRequest.model_validate(fields).model_dump(mode="json", exclude_unset=True)
    return Work(new_id("run"), one.agent_id, one.agent_id, request, True, 0, now())
