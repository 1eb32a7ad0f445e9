"""What runs showed while messages were being written, for those who read a stream later or elsewhere.

A row holds some events of one attempt of a run, in order: `seq` is the number of the first one. Rows are written once
and hold no numbers twice, so that what is stored is always the beginning of what was shown. Knows not what is in them.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, delete, exists, func, or_, select
from sqlalchemy.dialects import postgresql, sqlite

from letta.errors import NotFound
from letta.store.query import now
from letta.store.runs import OPEN
from letta.store.tables import run_events, runs

# One that was stored by a transaction whose end was never heard is there already.
_insert = {
    "sqlite": sqlite.insert(run_events).on_conflict_do_nothing(),
    "postgresql": postgresql.insert(run_events).on_conflict_do_nothing(),
}


class Batch(NamedTuple):
    """Events of an attempt: the number of the first, and all of them as JSON text."""

    seq: int
    data: str


class Stored(NamedTuple):
    """A batch and the attempt it is of."""

    attempt: int
    seq: int
    data: str


class Progress(NamedTuple):
    """How far a run is: unchanged when nothing happened that a reader wants to see."""

    attempt: int
    status: str
    usage: Any
    latest: int


class State(NamedTuple):
    """A run's row, as far as those who follow it need it.

    What the run `answered_by` says from position `answered_from` on is its answer, if that is not its own.
    """

    agent_id: str
    conversation_id: str
    request: dict[str, Any]
    background: bool
    attempt: int
    status: str
    stop_reason: str | None
    usage: dict[str, Any] | None
    metadata: dict[str, Any]
    completed_at: datetime | None
    answered_by: str | None
    answered_from: int | None

    @property
    def ended(self) -> bool:
        return self.status not in OPEN


_state = select(*(runs.c[name] for name in State._fields)).where(runs.c.id == bindparam("run_id"))


def state(connection: Connection, run_id: str) -> State:
    """How far a run is. Raises letta.errors.NotFound."""
    row = connection.execute(_state, {"run_id": run_id}).first()
    if row is None:
        raise NotFound(f"run {run_id} not found")
    return State(*row)


def add(connection: Connection, run_id: str, agent_id: str, attempt: int, batches: Sequence[Batch]) -> None:
    """Store batches; those that are there stay as they are."""
    if batches:
        moment = now()
        rows = [
            {"run_id": run_id, "agent_id": agent_id, "attempt": attempt, "seq": seq, "data": data, "created_at": moment}
            for seq, data in batches
        ]
        connection.execute(_insert[connection.dialect.name], rows)


def after(
    connection: Connection, run_id: str, attempt: int, seq: int, limit: int, before: int | None = None
) -> list[Stored]:
    """The next batches from event `seq` of an attempt on, in order, with those of later attempts (`before` one)."""
    place = run_events.c
    later = or_(place.attempt > attempt, (place.attempt == attempt) & (place.seq >= seq))
    query = select(place.attempt, place.seq, place.data).where(place.run_id == run_id, later)
    if before is not None:
        query = query.where(place.attempt < before)
    found = connection.execute(query.order_by(place.attempt, place.seq).limit(limit))
    return [Stored(*row) for row in found]


def progress(connection: Connection, run_ids: Sequence[str]) -> dict[str, Progress]:
    """How far runs are, by id; one that is gone is left out."""
    latest = func.coalesce(
        select(func.max(run_events.c.seq))
        .where(run_events.c.run_id == runs.c.id, run_events.c.attempt == runs.c.attempt)
        .scalar_subquery(),
        -1,
    )
    query = select(runs.c.id, runs.c.attempt, runs.c.status, runs.c.usage, latest).where(runs.c.id.in_(run_ids))
    return {run_id: Progress(*rest) for run_id, *rest in connection.execute(query)}


def remove(connection: Connection, run_id: str) -> None:
    """Forget what a run showed."""
    connection.execute(delete(run_events).where(run_events.c.run_id == run_id))


def purge(connection: Connection, ended_before: datetime, limit: int) -> int:
    """Forget what runs showed that ended before a moment, at most `limit` batches. How many were forgotten."""
    needed = exists().where(
        runs.c.id == run_events.c.run_id, or_(runs.c.completed_at.is_(None), runs.c.completed_at >= ended_before)
    )
    key = (run_events.c.run_id, run_events.c.attempt, run_events.c.seq)
    old = select(*key).where(run_events.c.created_at < ended_before, ~needed).limit(limit)
    found = connection.execute(old).all()
    for run_id in {row.run_id for row in found}:
        remove(connection, run_id)
    return len(found)
