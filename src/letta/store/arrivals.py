"""Requests as they arrive: which were sent before, and what arrives together with what.

A request may carry a key. The first run with it keeps it: whoever sends the same request again is told that run. Runs
that wait may also be answered by another run of their conversation, which then ends them together with itself.
Knows nothing of where keys come from or of what a turn does.
"""

from collections.abc import Container, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, case, literal, select, update

from letta.errors import InvalidValue
from letta.schemas.sends import BusyPolicy
from letta.store.tables import runs

KEY_HEADER = "Idempotency-Key"

_OPEN = ("created", "running")
_holder = select(runs.c.id, runs.c.request_digest, runs.c.created_at).where(
    runs.c.agent_id == bindparam("agent_id"),
    runs.c.conversation_id == bindparam("conversation_id"),
    runs.c.request_key == bindparam("key"),
)


@dataclass(frozen=True, slots=True)
class Arrival:
    """How a request arrived.

    `policy` is what it asks for should the conversation be busy; else the conversation's counts, then the agent's, then
    `default`. A run that began before `known_since` has lost its `key`. `again_since` is given when the request says
    that it was sent before: then a run with the same `digest` that began since is meant. `answered` are ids of batches
    and schedules that are not meant then: whoever has an answer does not try again.
    """

    policy: BusyPolicy | None = None
    default: BusyPolicy = BusyPolicy.ENQUEUE
    key: str | None = None
    digest: str | None = None
    known_since: datetime | None = None
    again_since: datetime | None = None
    answered: Container[str] = ()


PLAIN = Arrival(policy=BusyPolicy.ENQUEUE)
"""A request of the server's own: it waits its turn, whatever the agent does with others."""


class SentBefore(Exception):
    """The request is one that was sent before. `run_id` is its run; None: it has to be looked up."""

    def __init__(self, run_id: str | None = None) -> None:
        super().__init__(run_id)
        self.run_id = run_id


def holder(connection: Connection, agent_id: str, conversation_id: str, arrival: Arrival) -> str | None:
    """The run that has the request's key. One that is too old loses it.

    Raises:
        letta.errors.InvalidValue: that run was asked for something else.
    """
    values = {"agent_id": agent_id, "conversation_id": conversation_id, "key": arrival.key}
    row = connection.execute(_holder, values).first()
    if row is None:
        return None
    if arrival.known_since is not None and row.created_at < arrival.known_since:
        connection.execute(update(runs).where(runs.c.id == row.id).values(request_key=None))
        return None
    if row.request_digest != arrival.digest:
        raise InvalidValue(
            f"{KEY_HEADER}: run {row.id} of this conversation was started with this key and another body: "
            "send the same body again, or choose a new key"
        )
    run_id: str = row.id
    return run_id


def sent_before(connection: Connection, agent_id: str, conversation_id: str, arrival: Arrival) -> str | None:
    """The newest run with the same digest, if the request says that it was sent before."""
    if arrival.again_since is None or arrival.digest is None:
        return None
    query = select(runs.c.id).where(
        runs.c.agent_id == agent_id,
        runs.c.conversation_id == conversation_id,
        runs.c.request_digest == arrival.digest,
        runs.c.created_at >= arrival.again_since,
    )
    found: str | None = connection.execute(query.order_by(runs.c.created_at.desc(), runs.c.id.desc()).limit(1)).scalar()
    return found


def unfinished(connection: Connection, conversation_id: str) -> list[Any]:
    """Id, status and request of the runs of a conversation that have not ended: the running one first, then by age.

    Those that another run answers are left out.
    """
    query = select(runs.c.id, runs.c.status, runs.c.request, runs.c.created_at).where(
        runs.c.conversation_id == conversation_id, runs.c.status.in_(_OPEN), runs.c.answered_by.is_(None)
    )
    waits = case((runs.c.status == "running", 0), else_=1)
    return list(connection.execute(query.order_by(waits, runs.c.created_at, runs.c.id)))


def steer(connection: Connection, run_id: str) -> None:
    """Tell a running run that somebody wants to be heard during it."""
    connection.execute(update(runs).where(runs.c.id == run_id, runs.c.status == "running").values(steered=True))


def to_be_heard(connection: Connection, conversation_id: str) -> list[Any]:
    """The waiting runs whose messages the running one takes in, oldest first."""
    waiting = [row for row in unfinished(connection, conversation_id) if row.status == "created"]
    return [row for row in waiting if row.request.get("busy_policy") == BusyPolicy.STEER]


def join(connection: Connection, run_id: str, others: Sequence[str], answered_from: int) -> None:
    """Let a run answer for others that wait. What is said from position `answered_from` on is their answer."""
    theirs = update(runs).where(runs.c.id.in_(others), runs.c.status == "created")
    noted = {"run_type": "send_message", "answered_by": run_id}
    connection.execute(theirs.values(answered_by=run_id, answered_from=answered_from, metadata=noted))
    connection.execute(update(runs).where(runs.c.id == run_id).values(answers_others=True))


def end_joined(
    connection: Connection,
    run_id: str,
    status: str,
    stop_reason: str,
    moment: datetime,
    error: dict[str, Any] | None = None,
) -> None:
    """End the runs that `run_id` answers for, as it ended itself; `error` says why it failed."""
    theirs = update(runs).where(runs.c.answered_by == run_id, runs.c.status == "created")
    called = case((runs.c.callback_url.is_not(None), literal(moment, runs.c.callback_due.type)))
    values: dict[str, Any] = {"status": status, "stop_reason": stop_reason, "completed_at": moment}
    if error is not None:
        values["metadata"] = {"run_type": "send_message", "answered_by": run_id, "error": error}
    connection.execute(theirs.values(**values, callback_due=called))
