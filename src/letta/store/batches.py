"""Batches as rows. How far one is follows from its runs, so nothing here has to be kept up to date."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, and_, bindparam, exists, func, or_, select, update

from letta.errors import LettaError, NotFound
from letta.schemas.batches import Batch, BatchStatus
from letta.schemas.messages import Message, Role
from letta.store import accepting, repeats
from letta.store import messages as messages_store
from letta.store.query import now, rows
from letta.store.repeats import Arrival
from letta.store.runs import OPEN, Work
from letta.store.tables import batches, messages, runs

RUN_TYPE = "batch"
_SAID = (Role.ASSISTANT, Role.TOOL)


class _Progress(NamedTuple):
    counts: Counter[str]
    ended_at: datetime | None


def add(
    connection: Connection, batch_id: str, works: Sequence[Work], callback_url: str | None, arrival: Arrival
) -> None:
    """Store a batch and its runs, which belong to nobody yet: all of them or none.

    Raises:
        letta.errors.LettaError: why the first of them that cannot be accepted cannot; the message names its place.
        letta.store.repeats.SentBefore: there is a batch for this very request.
    """
    moment = works[0].created_at
    values = {"id": batch_id, "size": len(works), "callback_url": callback_url, "created_at": moment}
    repeats.add(connection, batches, values, arrival)
    metadata = {"run_type": RUN_TYPE, "batch_id": batch_id}
    for place, work in enumerate(works):
        try:
            accepting.accept(
                connection, work, owner=None, running=False, answers=False, metadata=metadata, batch_id=batch_id
            )
        except LettaError as error:
            error.message = f"requests[{place}]: {error.message}"
            raise


def sent_before(connection: Connection, arrival: Arrival) -> str | None:
    """The batch that was made for this very request. Raises letta.errors.InvalidValue if its key is another's."""
    return repeats.find(connection, batches, arrival)


def get(connection: Connection, batch_id: str) -> Batch:
    """A batch with the ids of its runs, in the order of the requests. Raises letta.errors.NotFound."""
    row = _row(connection, batch_id)
    found = _batch(row, _progress(connection, [batch_id]).get(batch_id))
    query = select(runs.c.id).where(runs.c.batch_id == batch_id).order_by(runs.c.created_at, runs.c.id)
    found.metadata["run_ids"] = list(connection.execute(query).scalars())
    return found


def list_page(connection: Connection, /, **paging: Any) -> list[Batch]:
    """One page of batches; paging as in `letta.store.query.rows`."""
    found = rows(connection, select(batches), batches, **paging)
    progress = _progress(connection, [row.id for row in found])
    return [_batch(row, progress.get(row.id)) for row in found]


def cancel(connection: Connection, batch_id: str) -> list[str]:
    """End the runs of a batch that nobody has taken yet. Returns the ids of the others that have not ended.

    Raises:
        letta.errors.NotFound: no such batch.
    """
    _row(connection, batch_id)
    moment = now()
    its = runs.c.batch_id == batch_id
    waiting = update(runs).where(its, runs.c.status == "created", runs.c.owner.is_(None))
    connection.execute(waiting.values(status="cancelled", stop_reason="cancelled", completed_at=moment))
    still = update(batches).where(batches.c.id == batch_id, batches.c.cancelled_at.is_(None))
    connection.execute(still.values(cancelled_at=moment))
    return list(connection.execute(select(runs.c.id).where(its, runs.c.status.in_(OPEN))).scalars())


def said(connection: Connection, /, batch_id: str, agent_id: str | None, **paging: Any) -> list[Message]:
    """One page of what the agents of a batch and their tools said. Raises letta.errors.NotFound."""
    _row(connection, batch_id)
    query = select(messages.c.id, messages.c.created_at).join(runs, runs.c.id == messages.c.run_id)
    query = query.where(runs.c.batch_id == batch_id, messages.c.role.in_(_SAID))
    if agent_id is not None:
        query = query.where(messages.c.agent_id == agent_id)
    ids = [row.id for row in rows(connection, query, messages, **paging)]
    found = messages_store.named(connection, ids)
    return [found[message_id] for message_id in ids]


# -- callbacks ---------------------------------------------------------------------------------------------------------

_to_tell = (
    batches.c.callback_url.is_not(None),
    or_(
        batches.c.callback_due <= bindparam("moment"),
        # Nobody notes that a batch has ended: it has when its last run has.
        and_(
            batches.c.callback_due.is_(None),
            batches.c.callback_attempts.is_(None),
            ~exists(select(runs.c.id).where(runs.c.batch_id == batches.c.id, runs.c.status.in_(OPEN))),
        ),
    ),
)


class Ended(NamedTuple):
    """A batch whose end somebody wants to be told, and how often that was tried, this time included."""

    batch: Batch
    url: str
    attempt: int


def any_to_tell(connection: Connection) -> bool:
    """Whether the end of some batch is to be told now."""
    return connection.execute(select(batches.c.id).where(*_to_tell).limit(1), {"moment": now()}).first() is not None


def take_ended(connection: Connection, limit: int, lease: timedelta) -> list[Ended]:
    """Batches whose end is to be told now, each for one process: another tries it only when the lease is over."""
    moment = now()
    query = select(batches).where(*_to_tell).order_by(batches.c.created_at).limit(limit)
    found = connection.execute(query.with_for_update(skip_locked=True, of=batches), {"moment": moment}).all()
    if not found:
        return []
    ids = [row.id for row in found]
    tried = func.coalesce(batches.c.callback_attempts, 0) + 1
    values = {"callback_due": moment + lease, "callback_attempts": tried}
    connection.execute(update(batches).where(batches.c.id.in_(ids)).values(**values))
    progress = _progress(connection, ids)
    return [
        Ended(_batch(row, progress.get(row.id)), row.callback_url, (row.callback_attempts or 0) + 1) for row in found
    ]


def told(
    connection: Connection, batch_id: str, *, status: int | None, error: str | None, again_at: datetime | None
) -> None:
    """What came of telling. `again_at` None: it was the last try."""
    values = {
        "callback_sent_at": now(),
        "callback_status_code": status,
        "callback_error": error,
        "callback_due": again_at,
    }
    connection.execute(update(batches).where(batches.c.id == batch_id).values(**values))


# -- rows --------------------------------------------------------------------------------------------------------------


def _row(connection: Connection, batch_id: str) -> Row[Any]:
    row = connection.execute(select(batches).where(batches.c.id == batch_id)).first()
    if row is None:
        raise NotFound(f"batch {batch_id} not found")
    return row


def _progress(connection: Connection, batch_ids: Sequence[str]) -> dict[str, _Progress]:
    its = runs.c.batch_id
    query = select(its, runs.c.status, func.count(), func.max(runs.c.completed_at)).where(its.in_(batch_ids))
    found: dict[str, _Progress] = {}
    for batch_id, status, number, ended_at in connection.execute(query.group_by(its, runs.c.status)):
        counts, last = found.get(batch_id, _Progress(Counter(), None))
        counts[status] += number
        found[batch_id] = _Progress(counts, max(filter(None, (last, ended_at)), default=None))
    return found


def _batch(row: Row[Any], progress: _Progress | None) -> Batch:
    counts, ended_at = progress or _Progress(Counter(), None)
    status = _status(counts, cancelled=row.cancelled_at is not None)
    ended = status not in OPEN
    return Batch(
        id=row.id,
        status=status,
        created_at=row.created_at,
        updated_at=ended_at or row.created_at,
        completed_at=ended_at if ended else None,
        callback_url=row.callback_url,
        callback_sent_at=row.callback_sent_at,
        callback_status_code=row.callback_status_code,
        callback_error=row.callback_error,
        metadata={"requests": row.size, "runs": dict(sorted(counts.items()))},
    )


def _status(counts: Counter[str], *, cancelled: bool) -> BatchStatus:
    ended = counts["completed"] + counts["failed"] + counts["cancelled"]
    if counts["running"] or (counts["created"] and ended):
        return "running"
    if counts["created"]:
        return "created"
    if not ended:
        return "expired"
    if cancelled and counts["cancelled"]:
        return "cancelled"
    return "completed" if counts["completed"] else "failed" if counts["failed"] else "cancelled"
