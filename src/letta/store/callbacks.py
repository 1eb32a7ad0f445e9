"""Callbacks that are due: ended runs and batches of which somebody wants to be told. Knows nothing of how."""

from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Connection, func, select, update

from letta.schemas.batches import Batch
from letta.schemas.common import Prefix, iso
from letta.store import batches
from letta.store.query import now
from letta.store.tables import runs

_due = runs.c.callback_due


class Call(NamedTuple):
    """A callback to make: where to, what to say, and how often that was tried, this time included.

    `run_id` may be the id of a batch.
    """

    run_id: str
    url: str
    body: dict[str, Any]
    attempt: int


def take(connection: Connection, limit: int, lease: timedelta) -> list[Call]:
    """Callbacks whose time has come, each for one process: another one tries it only when the lease is over."""
    moment = now()
    query = select(runs).where(_due.is_not(None), _due <= moment).order_by(_due).limit(limit)
    found = connection.execute(query.with_for_update(skip_locked=True)).all()
    if found:
        mine = update(runs).where(runs.c.id.in_([row.id for row in found]))
        tried = func.coalesce(runs.c.callback_attempts, 0) + 1
        connection.execute(mine.values(callback_due=moment + lease, callback_attempts=tried))
    ended = batches.take_ended(connection, limit, lease)
    return [
        *(Call(row.id, row.callback_url, _body(row), (row.callback_attempts or 0) + 1) for row in found),
        *(Call(one.batch.id, one.url, _batch_body(one.batch), one.attempt) for one in ended),
    ]


def next_due(connection: Connection) -> datetime | None:
    """When the next callback is due; None while there is none."""
    if batches.any_to_tell(connection):
        return now()
    found: datetime | None = connection.execute(select(_due).where(_due.is_not(None)).order_by(_due).limit(1)).scalar()
    return found


def record(
    connection: Connection, run_id: str, *, status: int | None, error: str | None, again_at: datetime | None
) -> None:
    """What came of a try. `again_at` None: it was the last one."""
    if not run_id.startswith(Prefix.RUN):
        batches.told(connection, run_id, status=status, error=error, again_at=again_at)
        return
    values = {
        "callback_sent_at": now(),
        "callback_status_code": status,
        "callback_error": error,
        "callback_due": again_at,
    }
    connection.execute(update(runs).where(runs.c.id == run_id).values(**values))


def _batch_body(batch: Batch) -> dict[str, Any]:
    ended = None if batch.completed_at is None else iso(batch.completed_at)
    return {"job_id": batch.id, "status": batch.status, "completed_at": ended}


def _body(row: Any) -> dict[str, Any]:
    return {
        "run_id": row.id,
        "agent_id": row.agent_id,
        "conversation_id": None if row.conversation_id == row.agent_id else row.conversation_id,
        "status": row.status,
        "stop_reason": row.stop_reason,
        "completed_at": None if row.completed_at is None else iso(row.completed_at),
        "metadata": row.metadata,
    }
