"""Schedules as rows, and what came of their times. Knows nothing of cron, and not which process acts on a time."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, and_, delete, insert, select, update

from letta.errors import LettaError, NotFound
from letta.schemas.runs import RunStatus
from letta.schemas.schedules import (
    CatchUp,
    Occurrence,
    OneTime,
    Outcome,
    Recurring,
    Schedule,
    ScheduledMessages,
    WhenBusy,
)
from letta.store import accepting, repeats
from letta.store import agents as agents_store
from letta.store.query import now, rows
from letta.store.repeats import PLAIN, Arrival
from letta.store.runs import OPEN, Work
from letta.store.tables import agents, runs, schedule_occurrences, schedules

KEPT = 2000
"""Of how many times of a schedule it is remembered what came of them. Not for how long: a clock that ran a year ahead
for a moment must not make it forget what was done today."""

METADATA = {"run_type": "scheduled_message"}


class Due(NamedTuple):
    """A schedule whose time has come."""

    id: str
    agent_id: str
    request: dict[str, Any]
    cron: str | None
    timezone: str
    catch_up: CatchUp
    next_at: datetime


@dataclass(frozen=True, slots=True)
class Firing:
    """What to do about a time that has come: `work` is the run to store, or `detail` tells why there is none."""

    schedule_id: str
    agent_id: str
    claimed: datetime
    due_at: datetime
    missed: int
    next_at: datetime | None
    work: Work | None
    detail: str | None = None


def add(
    connection: Connection,
    schedule_id: str,
    agent_id: str,
    request: dict[str, Any],
    *,
    cron: str | None,
    timezone: str | None,
    when_busy: WhenBusy,
    catch_up: CatchUp,
    next_at: datetime,
    arrival: Arrival = PLAIN,
) -> None:
    """Store a schedule. Without `timezone` it follows the agent's.

    Raises:
        letta.errors.NotFound: no such agent.
        letta.errors.InvalidValue: the key of the request is that of another.
        letta.store.repeats.SentBefore: there is a schedule for this very request.
    """
    values = {
        "id": schedule_id,
        "agent_id": agent_id,
        "request": request,
        "cron": cron,
        "timezone": timezone or agents_store.timezone(connection, agent_id),
        "follows_agent": timezone is None,
        "when_busy": when_busy.value,
        "catch_up": catch_up.value,
        "next_at": next_at,
        "created_at": now(),
    }
    repeats.add(connection, schedules, values, arrival, schedules.c.agent_id == agent_id)


def sent_before(connection: Connection, agent_id: str, arrival: Arrival) -> str | None:
    """The agent's schedule that was made for this very request.

    Raises:
        letta.errors.InvalidValue: the key of the request is that of another.
    """
    return repeats.find(connection, schedules, arrival, schedules.c.agent_id == agent_id)


def get(connection: Connection, agent_id: str, schedule_id: str) -> Schedule:
    """Raises letta.errors.NotFound."""
    row = connection.execute(_one(agent_id, schedule_id)).first()
    if row is None:
        raise _missing(agent_id, schedule_id)
    return _schedule(row)


def list_page(connection: Connection, agent_id: str, after: str | None, limit: int) -> tuple[list[Schedule], bool]:
    """An agent's schedules, newest first, and whether there are more. Raises letta.errors.NotFound."""
    agents_store.require(connection, agent_id)
    query = select(schedules).where(schedules.c.agent_id == agent_id)
    found = rows(connection, query, schedules, after=after, limit=limit + 1)
    return [_schedule(row) for row in found[:limit]], len(found) > limit


def remove(connection: Connection, agent_id: str, schedule_id: str) -> None:
    """Raises letta.errors.NotFound."""
    mine = delete(schedules).where(schedules.c.id == schedule_id, schedules.c.agent_id == agent_id)
    if connection.execute(mine).rowcount == 0:
        raise _missing(agent_id, schedule_id)


def history(
    connection: Connection, agent_id: str, schedule_id: str, before: datetime | None, limit: int
) -> tuple[list[Occurrence], bool]:
    """What came of a schedule's times before `before`, newest first, and whether there is more.

    Raises:
        letta.errors.NotFound: no such schedule.
    """
    get(connection, agent_id, schedule_id)
    table = schedule_occurrences
    query = select(table, runs.c.status).outerjoin(runs, runs.c.id == table.c.run_id)
    query = query.where(table.c.schedule_id == schedule_id)
    if before is not None:
        query = query.where(table.c.due_at < before)
    found = connection.execute(query.order_by(table.c.due_at.desc()).limit(limit + 1)).all()
    return [_occurrence(row) for row in found[:limit]], len(found) > limit


# -- acting on times ---------------------------------------------------------------------------------------------------


def earliest(connection: Connection) -> datetime | None:
    """The next time of any schedule."""
    query = select(schedules.c.next_at).where(schedules.c.next_at.is_not(None)).order_by(schedules.c.next_at).limit(1)
    return connection.execute(query).scalar()


def due(connection: Connection, moment: datetime, limit: int) -> list[Due]:
    """Schedules whose time has come by `moment`, the longest overdue first."""
    query = select(schedules).where(schedules.c.next_at.is_not(None), schedules.c.next_at <= moment)
    return [_due(row) for row in connection.execute(query.order_by(schedules.c.next_at).limit(limit))]


def fire(connection: Connection, firing: Firing) -> Outcome | None:
    """Act on a time that has come, in the caller's transaction: the run, the record of it and the next time.

    None when another process has done it, or the schedule is gone.
    """
    mine = update(schedules).where(schedules.c.id == firing.schedule_id, schedules.c.next_at == firing.claimed)
    if connection.execute(mine.values(next_at=firing.next_at)).rowcount == 0:
        return None
    table = schedule_occurrences
    same = and_(table.c.schedule_id == firing.schedule_id, table.c.due_at == firing.due_at)
    if connection.execute(select(table.c.due_at).where(same)).first() is not None:
        return None
    outcome, detail = _accept(connection, firing)
    connection.execute(
        insert(table),
        {
            "schedule_id": firing.schedule_id,
            "due_at": firing.due_at,
            "agent_id": firing.agent_id,
            "handled_at": now(),
            "outcome": outcome.value,
            "run_id": firing.work.id if firing.work and outcome is Outcome.STARTED else None,
            "missed": firing.missed,
            "detail": detail,
        },
    )
    its = table.c.schedule_id == firing.schedule_id
    oldest = select(table.c.due_at).where(its).order_by(table.c.due_at.desc()).offset(KEPT).limit(1).scalar_subquery()
    connection.execute(delete(table).where(its, table.c.due_at <= oldest))
    return outcome


def _accept(connection: Connection, firing: Firing) -> tuple[Outcome, str | None]:
    work = firing.work
    if work is None:
        return Outcome.SKIPPED, firing.detail
    when_busy = connection.execute(select(schedules.c.when_busy).where(schedules.c.id == firing.schedule_id)).scalar()
    if when_busy == WhenBusy.SKIP and _is_busy(connection, work):
        return Outcome.SKIPPED, "the agent was busy"
    if _still_waits(connection, firing.schedule_id):
        return Outcome.SKIPPED, "the run of the time before still waits for its turn"
    try:
        accepting.accept(connection, work, owner=None, running=False, answers=False, metadata=METADATA)
    except LettaError as error:
        return Outcome.REFUSED, error.message
    return Outcome.STARTED, firing.detail


def _is_busy(connection: Connection, work: Work) -> bool:
    active = select(runs.c.id).where(runs.c.conversation_id == work.conversation_id, runs.c.status.in_(OPEN)).limit(1)
    return connection.execute(active).first() is not None


def _still_waits(connection: Connection, schedule_id: str) -> bool:
    query = select(runs.c.id).join(schedule_occurrences, schedule_occurrences.c.run_id == runs.c.id)
    query = query.where(schedule_occurrences.c.schedule_id == schedule_id, runs.c.status == "created").limit(1)
    return connection.execute(query).first() is not None


def moved(connection: Connection) -> list[tuple[Due, str]]:
    """Schedules whose agent is in another time zone by now, and which."""
    query = select(schedules, agents.c.timezone.label("moved_to")).join(agents, agents.c.id == schedules.c.agent_id)
    query = query.where(schedules.c.follows_agent.is_(True), schedules.c.cron.is_not(None))
    query = query.where(schedules.c.next_at.is_not(None), schedules.c.timezone != agents.c.timezone)
    return [(_due(row), row.moved_to) for row in connection.execute(query)]


def ahead(connection: Connection, moment: datetime) -> list[Due]:
    """Recurring schedules whose next time is after `moment`."""
    query = select(schedules).where(schedules.c.cron.is_not(None), schedules.c.next_at > moment)
    return [_due(row) for row in connection.execute(query)]


def move(connection: Connection, schedule: Due, zone: str, next_at: datetime | None) -> bool:
    """Give a schedule another zone and next time. False when its time was changed meanwhile."""
    same = update(schedules).where(schedules.c.id == schedule.id, schedules.c.next_at == schedule.next_at)
    return connection.execute(same.values(timezone=zone, next_at=next_at)).rowcount == 1


# -- rows --------------------------------------------------------------------------------------------------------------


def _one(agent_id: str, schedule_id: str) -> Any:
    return select(schedules).where(schedules.c.id == schedule_id, schedules.c.agent_id == agent_id)


def _missing(agent_id: str, schedule_id: str) -> NotFound:
    return NotFound(f"schedule {schedule_id} not found for agent {agent_id}")


def _due(row: Row[Any]) -> Due:
    return Due(row.id, row.agent_id, row.request, row.cron, row.timezone, CatchUp(row.catch_up), row.next_at)


def _schedule(row: Row[Any]) -> Schedule:
    request = dict(row.request)
    at = request.pop("scheduled_at", None)
    zone = None if row.follows_agent else row.timezone
    when = (
        Recurring(type="recurring", cron_expression=row.cron, timezone=zone) if row.cron else OneTime(scheduled_at=at)
    )
    return Schedule(
        id=row.id,
        agent_id=row.agent_id,
        message=ScheduledMessages.model_validate(request),
        schedule=when,
        next_scheduled_time=row.next_at,
        when_busy=WhenBusy(row.when_busy),
        catch_up=CatchUp(row.catch_up),
        created_at=row.created_at,
    )


def _occurrence(row: Row[Any]) -> Occurrence:
    return Occurrence(
        due_at=row.due_at,
        handled_at=row.handled_at,
        outcome=Outcome(row.outcome),
        run_id=row.run_id,
        run_status=RunStatus(row.status) if row.status else None,
        missed=row.missed,
        detail=row.detail,
    )
