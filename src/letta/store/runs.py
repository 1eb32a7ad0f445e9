"""Runs as rows: accepted, claimed by an owner, ended once. Knows nothing of what a run does."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import (
    Connection,
    and_,
    bindparam,
    case,
    exists,
    func,
    literal,
    or_,
    select,
    text,
    tuple_,
    update,
)
from sqlalchemy.exc import IntegrityError

from letta.errors import Busy, NotFound
from letta.schemas.groups import ManagerType
from letta.schemas.runs import RequestConfig, Run, RunUsage
from letta.store import clock
from letta.store.query import now, rows
from letta.store.tables import agents, conversations, groups, runs, steps

LEASE = timedelta(seconds=12)
OPEN = ("created", "running")
_MOST_IDS = 1000

_versions = (
    select(
        agents.c.version.label("agent"),
        conversations.c.version.label("thread"),
        conversations.c.pending_message_id,
        conversations.c.busy_policy.label("thread_policy"),
        agents.c.busy_policy.label("agent_policy"),
        exists()
        .where(groups.c.manager_agent_id == agents.c.id, groups.c.manager_type == ManagerType.SLEEPTIME)
        .label("leads_sleeptime"),
    )
    .join(conversations, conversations.c.agent_id == agents.c.id)
    .where(
        agents.c.id == bindparam("agent_id"),
        conversations.c.id == bindparam("conversation_id"),
        conversations.c.deleted_at.is_(None),
    )
)


_ours = (
    update(runs)
    .where(runs.c.id == bindparam("run_id"), runs.c.attempt == bindparam("of_attempt"), runs.c.status == "running")
    .returning(runs.c.steered, runs.c.answers_others)
)
_ours_unless_cancelled = _ours.where(runs.c.cancel_requested.is_(False))
# Written as the partial index has it.
_unowned = text("status = 'created' AND owner IS NULL")


class Versions(NamedTuple):
    """The versions of an agent and of a conversation: unchanged numbers mean that nothing the model sees changed."""

    agent: int
    thread: int


class Held(NamedTuple):
    """A run that is still ours: whether somebody wants to be heard during it, and whether it answers for others."""

    steered: bool
    answers_others: bool


class Work(NamedTuple):
    """A run to be done: whose it is, what was asked, and the attempt its writes must carry.

    `leads_sleeptime` is False where it is known that no sleep-time group thinks about what is said.
    """

    id: str
    agent_id: str
    conversation_id: str
    request: dict[str, Any]
    background: bool
    attempt: int
    created_at: datetime
    usage: dict[str, Any] | None = None
    leads_sleeptime: bool = True


@dataclass(frozen=True, slots=True)
class RunFilter:
    """What to list; None does not filter."""

    agent_id: str | None = None
    agent_ids: Sequence[str] = ()
    conversation_id: str | None = None
    statuses: Sequence[str] = ()
    background: bool | None = None
    stop_reason: str | None = None
    active: bool | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None


def current_versions(connection: Connection, agent_id: str, conversation_id: str) -> Versions:
    """Raises letta.errors.NotFound."""
    row = versions_row(connection, agent_id, conversation_id)
    return Versions(row.agent, row.thread)


def versions_row(connection: Connection, agent_id: str, conversation_id: str) -> Any:
    """The versions of an agent and a conversation, what waits in it, both their policies, and who thinks about it.

    Raises:
        letta.errors.NotFound: no such agent or conversation.
    """
    row = connection.execute(_versions, {"agent_id": agent_id, "conversation_id": conversation_id}).first()
    if row is None:
        if connection.execute(select(agents.c.id).where(agents.c.id == agent_id)).first() is None:
            raise NotFound(f"agent {agent_id} not found")
        raise NotFound(f"conversation {conversation_id} not found for agent {agent_id}")
    return row


def claim(connection: Connection, run_id: str, owner: str) -> Work | None:
    """Take a run that waits for `owner`, or one whose owner is gone, and raise its attempt. None if neither holds.

    Raises:
        letta.errors.Busy: another run of the conversation is running.
    """
    expired = runs.c.lease_until < clock.moment(connection)
    free = or_(and_(runs.c.status == "created", runs.c.owner == owner), expired)
    mine = update(runs).where(runs.c.id == run_id, runs.c.status.in_(OPEN), runs.c.answered_by.is_(None), free)
    try:
        lease = clock.moment(connection, LEASE)
        taken = connection.execute(
            mine.values(status="running", owner=owner, attempt=runs.c.attempt + 1, lease_until=lease)
        )
    except IntegrityError as error:
        raise Busy from error
    if taken.rowcount == 0:
        return None
    return _work(connection.execute(select(runs).where(runs.c.id == run_id)).one())


def take(connection: Connection, owner: str, limit: int) -> list[Work]:
    """Make up to `limit` runs without an owner those of `owner`, oldest first, each to one process only.

    A run waits until the older ones of its conversation have ended.
    """
    older = runs.alias("older")
    before = tuple_(older.c.created_at, older.c.id) < tuple_(runs.c.created_at, runs.c.id)
    same = older.c.conversation_id == runs.c.conversation_id
    first = ~exists(select(older.c.id).where(same, older.c.status.in_(OPEN), or_(older.c.status == "running", before)))
    query = select(runs).where(_unowned, runs.c.answered_by.is_(None), first)
    query = query.order_by(runs.c.created_at, runs.c.id).limit(limit)
    found = connection.execute(query.with_for_update(skip_locked=True, of=runs)).all()
    if found:
        mine = update(runs).where(runs.c.id.in_([row.id for row in found]))
        connection.execute(mine.values(owner=owner, lease_until=clock.moment(connection, LEASE)))
    return [_work(row) for row in found]


def count_open(connection: Connection) -> dict[str, int]:
    """How many runs have not ended, by status."""
    query = select(runs.c.status, func.count()).where(text("status IN ('created', 'running')")).group_by(runs.c.status)
    return {status: int(number) for status, number in connection.execute(query)}


def any_unowned(connection: Connection) -> bool:
    """Whether runs wait for somebody to take them."""
    return connection.execute(select(runs.c.id).where(_unowned).limit(1)).first() is not None


def abandoned(connection: Connection) -> list[Work]:
    """Unfinished runs whose owner did not renew its lease, oldest first; without those that another run answers."""
    expired = runs.c.lease_until < clock.moment(connection)
    query = select(runs).where(runs.c.status.in_(OPEN), expired, runs.c.answered_by.is_(None))
    query = query.order_by(runs.c.created_at, runs.c.id)
    return [_work(row) for row in connection.execute(query)]


def renew(connection: Connection, owner: str, run_ids: Sequence[str]) -> int:
    """Prolong the leases of the runs that `owner` takes care of. Returns how many are still its own.

    Those it has lost sight of, because the database did not answer, are left to be taken up.
    """
    renewed = 0
    for first in range(0, len(run_ids), _MOST_IDS):
        some = runs.c.id.in_(run_ids[first : first + _MOST_IDS])
        mine = update(runs).where(some, runs.c.owner == owner, runs.c.status.in_(OPEN))
        renewed += connection.execute(mine.values(lease_until=clock.moment(connection, LEASE))).rowcount
    return renewed


def release(connection: Connection, owner: str) -> None:
    """Give up every lease of `owner`, so that the next process can take its runs at once."""
    mine = update(runs).where(runs.c.owner == owner, runs.c.status.in_(OPEN))
    connection.execute(mine.values(lease_until=clock.moment(connection, -LEASE)))


def expire_all(connection: Connection) -> None:
    """Declare every unfinished run that had an owner abandoned: for a database that only one process can have open."""
    theirs = update(runs).where(runs.c.status.in_(OPEN), runs.c.owner.is_not(None))
    connection.execute(theirs.values(lease_until=clock.moment(connection, -LEASE)))


def fence(
    connection: Connection, run_id: str, attempt: int, values: dict[str, Any], *, unless_cancelled: bool = False
) -> Held | None:
    """Write to a run that is still ours. None when it ended or was taken over: then nothing was written.

    With `unless_cancelled` a run that somebody asked to cancel counts as not ours.
    """
    mine = _ours_unless_cancelled if unless_cancelled else _ours
    row = connection.execute(mine, {"run_id": run_id, "of_attempt": attempt, **values}).first()
    return None if row is None else Held(bool(row.steered), bool(row.answers_others))


def change_request(connection: Connection, run_id: str, request: dict[str, Any]) -> None:
    """Let a run do more than it was accepted for."""
    connection.execute(update(runs).where(runs.c.id == run_id).values(request=request))


def end_waiting(
    connection: Connection, run_id: str, stop_reason: str, status: str, error: dict[str, Any] | None = None
) -> bool:
    """End a run that never started. False when it did."""
    moment = now()
    values: dict[str, Any] = {"status": status, "stop_reason": stop_reason, "completed_at": moment}
    if error is not None:
        # Not all of it is new: who answers for a run is known before it ends.
        kept = connection.execute(select(runs.c.metadata).where(runs.c.id == run_id)).scalar()
        values["metadata"] = {**(kept or {}), "error": error}
    called = case((runs.c.callback_url.is_not(None), literal(moment, runs.c.callback_due.type)))
    still = update(runs).where(runs.c.id == run_id, runs.c.status == "created")
    return connection.execute(still.values(**values, callback_due=called)).rowcount == 1


def request_cancel(connection: Connection, run_id: str) -> bool:
    """Ask whoever works on the run to stop. False when it has ended."""
    active = update(runs).where(runs.c.id == run_id, runs.c.status.in_(OPEN))
    return connection.execute(active.values(cancel_requested=True)).rowcount == 1


def to_cancel(connection: Connection, owner: str) -> list[str]:
    """The runs of `owner` that somebody, perhaps in another process, asked to cancel."""
    query = select(runs.c.id).where(runs.c.owner == owner, runs.c.status.in_(OPEN), runs.c.cancel_requested.is_(True))
    return list(connection.execute(query).scalars())


def work(connection: Connection, run_id: str) -> Work:
    """What a run was accepted for. Raises letta.errors.NotFound."""
    row = connection.execute(select(runs).where(runs.c.id == run_id)).first()
    if row is None:
        raise NotFound(f"run {run_id} not found")
    return _work(row)


def get(connection: Connection, run_id: str) -> Run:
    """Raises letta.errors.NotFound."""
    row = connection.execute(select(runs).where(runs.c.id == run_id)).first()
    if row is None:
        raise NotFound(f"run {run_id} not found")
    return _run(row)


def ended_so(connection: Connection, run_id: str, stop_reason: str) -> bool:
    """Whether a run ended for this reason, or was deleted."""
    row = connection.execute(select(runs.c.status, runs.c.stop_reason).where(runs.c.id == run_id)).first()
    return row is None or (row.status not in OPEN and row.stop_reason == stop_reason)


def open_ids(connection: Connection, conversation_id: str | None, agent_id: str) -> list[str]:
    """The ids of an agent's unfinished runs, oldest first; of one conversation if given."""
    query = select(runs.c.id).where(runs.c.agent_id == agent_id, runs.c.status.in_(OPEN))
    if conversation_id is not None:
        query = query.where(runs.c.conversation_id == conversation_id)
    return list(connection.execute(query.order_by(runs.c.created_at, runs.c.id)).scalars())


def list_page(connection: Connection, /, wanted: RunFilter, **paging: Any) -> list[Run]:
    """One page of runs; paging as in `letta.store.query.rows`."""
    query = select(runs)
    for column, value in (
        (runs.c.agent_id, wanted.agent_id),
        (runs.c.conversation_id, wanted.conversation_id),
        (runs.c.background, wanted.background),
        (runs.c.stop_reason, wanted.stop_reason),
    ):
        if value is not None:
            query = query.where(column == value)
    if wanted.agent_ids:
        query = query.where(runs.c.agent_id.in_(wanted.agent_ids))
    if wanted.statuses:
        query = query.where(runs.c.status.in_(wanted.statuses))
    if wanted.active is not None:
        query = query.where(runs.c.status.in_(OPEN) if wanted.active else runs.c.status.not_in(OPEN))
    if wanted.created_after is not None:
        query = query.where(runs.c.created_at > wanted.created_after)
    if wanted.created_before is not None:
        query = query.where(runs.c.created_at < wanted.created_before)
    return [_run(row) for row in rows(connection, query, runs, **paging)]


def remove(connection: Connection, run_id: str) -> None:
    """Delete a run's row; its messages and steps stay. Raises letta.errors.NotFound."""
    if connection.execute(runs.delete().where(runs.c.id == run_id)).rowcount == 0:
        raise NotFound(f"run {run_id} not found")


def usage(connection: Connection, run_id: str) -> RunUsage:
    """The tokens of all steps of a run. Raises letta.errors.NotFound."""
    get(connection, run_id)
    names = ("prompt_tokens", "completion_tokens", "total_tokens", "cached_input_tokens", "cache_write_tokens",
             "reasoning_tokens")  # fmt: skip
    row = connection.execute(select(*(func.sum(steps.c[name]) for name in names)).where(steps.c.run_id == run_id)).one()
    total = dict(zip(names, row, strict=True))
    details = {
        "prompt_tokens_details": {
            "cached_tokens": total["cached_input_tokens"],
            "cache_read_tokens": total["cached_input_tokens"],
            "cache_creation_tokens": total["cache_write_tokens"],
        },
        "completion_tokens_details": {"reasoning_tokens": total["reasoning_tokens"]},
    }
    counted = {name: int(total[name] or 0) for name in names[:3]}
    return RunUsage.model_validate(
        {**counted, **{name: part for name, part in details.items() if any(v is not None for v in part.values())}}
    )


def _work(row: Any) -> Work:
    return Work(
        row.id, row.agent_id, row.conversation_id, row.request, row.background, row.attempt, row.created_at, row.usage
    )


def _run(row: Any) -> Run:
    own_thread = row.conversation_id == row.agent_id
    return Run.model_construct(
        id=row.id,
        agent_id=row.agent_id,
        conversation_id=None if own_thread else row.conversation_id,
        status=row.status,
        stop_reason=row.stop_reason,
        background=row.background,
        created_at=row.created_at,
        completed_at=row.completed_at,
        updated_at=row.completed_at or row.created_at,
        metadata=row.metadata,
        request_config=RequestConfig.model_validate(row.request),
        callback_url=row.callback_url,
        callback_sent_at=row.callback_sent_at,
        callback_status_code=row.callback_status_code,
        callback_error=row.callback_error,
        ttft_ns=row.ttft_ns,
        total_duration_ns=row.total_duration_ns,
    )
