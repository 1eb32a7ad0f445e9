"""The acceptance of a request: one transaction that stores its run, or finds that there is one, or none is to be.

What is decided here: whether the request was sent before, whether it runs at once, and, where the conversation is busy,
what becomes of it. Knows nothing of what a run does.
"""

from typing import Any, NamedTuple

from sqlalchemy import Connection, insert
from sqlalchemy.exc import IntegrityError

from letta.errors import Busy, PendingApproval
from letta.schemas.sends import BusyPolicy
from letta.store import arrivals, clock, repeats
from letta.store.repeats import PLAIN, Arrival, SentBefore
from letta.store.runs import LEASE, Versions, Work, versions_row
from letta.store.tables import runs

_insert = insert(runs)
_CLEARS_WAY = (BusyPolicy.INTERRUPT, BusyPolicy.ROLLBACK)


class Accepted(NamedTuple):
    """A request that is stored now: where its run starts from, whether it runs, and the run it must not wait for.

    `leads_sleeptime` says whether sleep-time groups think about what the agent hears and says.
    """

    versions: Versions
    running: bool
    leads_sleeptime: bool
    in_the_way: str | None = None


def accept(
    connection: Connection,
    work: Work,
    *,
    owner: str | None,
    running: bool,
    answers: bool,
    metadata: dict[str, Any],
    batch_id: str | None = None,
    arrival: Arrival = PLAIN,
) -> Accepted:
    """Store a new run before anything else happens, to be worked on by `owner`; it is `running` at once, or waits.

    Without an owner it waits for whoever takes it first (see `letta.store.runs.take`). `answers` says that the request
    answers calls that wait for a person or a client.

    Raises:
        letta.errors.NotFound: no such agent or conversation.
        letta.errors.PendingApproval: calls wait for an answer, and this is none.
        letta.errors.Busy: another run of the conversation is running, and this one wants to run or not to wait.
        letta.errors.InvalidValue: the request's key is that of another request.
        letta.store.repeats.SentBefore: there is a run for this very request.
    """
    row = versions_row(connection, work.agent_id, work.conversation_id)
    policy = str(arrival.policy or row.thread_policy or row.agent_policy or arrival.default)
    if answers and policy != BusyPolicy.REJECT:
        # An answer belongs to the turn that asked: it is neither heard in another one nor does it end one.
        policy = BusyPolicy.ENQUEUE
    pending = row.pending_message_id is not None and not answers
    # The unique index finds the key of a run that begins at once.
    looks = arrival.key is None or pending or not running
    if looks and (known := sent_before(connection, work.agent_id, work.conversation_id, arrival)) is not None:
        raise SentBefore(known)
    if pending and policy not in _CLEARS_WAY:
        raise PendingApproval(pending_request_id=row.pending_message_id)
    running = running and not pending
    request, in_the_way = (_plain(work), None) if running else _wait(connection, work, policy)
    values = {
        "id": work.id,
        "agent_id": work.agent_id,
        "conversation_id": work.conversation_id,
        "status": "running" if running else "created",
        "background": work.background,
        "request": request,
        "metadata": metadata,
        "callback_url": work.request.get("callback_url"),
        "request_key": arrival.key,
        "request_digest": arrival.digest,
        "owner": owner,
        "attempt": work.attempt if running else 0,
        "cancel_requested": False,
        "batch_id": batch_id,
        "created_at": work.created_at,
    }
    insert_leased = _insert if owner is None else _insert.values(lease_until=clock.moment(connection, LEASE))
    try:
        connection.execute(insert_leased, values)
    except IntegrityError as error:
        if "request_key" in str(error.orig):
            raise SentBefore from error
        raise Busy from error
    return Accepted(Versions(row.agent, row.thread), running, row.leads_sleeptime, in_the_way)


def sent_before(connection: Connection, agent_id: str, conversation_id: str, arrival: Arrival) -> str | None:
    """The run of a conversation that was started by this very request. A key that counts no more is free then.

    Raises:
        letta.errors.InvalidValue: the key is that of another request.
    """
    mine = runs.c.agent_id == agent_id, runs.c.conversation_id == conversation_id
    repeats.free(connection, runs, arrival, *mine)
    return repeats.find(connection, runs, arrival, *mine)


def _plain(work: Work) -> dict[str, Any]:
    """The request without a policy: that one counts only for those who wait by it, also after a restart."""
    return {key: value for key, value in work.request.items() if key != "busy_policy"}


def _wait(connection: Connection, work: Work, policy: str) -> tuple[dict[str, Any], str | None]:
    """What is stored of a request that has to wait, and the run that is to be cancelled for it.

    Raises:
        letta.errors.Busy: it is not to wait.
    """
    if policy == BusyPolicy.ENQUEUE:
        return _plain(work), None
    request = {**work.request, "busy_policy": policy}
    others = [] if policy == BusyPolicy.MERGE else arrivals.unfinished(connection, work.conversation_id)
    if not others:
        return request, None
    first: str = others[0].id
    if policy == BusyPolicy.REJECT:
        raise Busy(f"conversation {work.conversation_id} is busy with run {first}", run_id=first)
    if policy == BusyPolicy.STEER:
        arrivals.steer(connection, first)
        return request, None
    return request | ({"rolls_back": first} if policy == BusyPolicy.ROLLBACK else {}), first
