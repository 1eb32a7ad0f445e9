"""Requests that arrive while others are worked on: what waits, what is heard meanwhile, and who answers for whom.

Runs that wait may be answered by another run of their conversation, which then ends them together with itself. Knows
nothing of what a turn does.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, case, literal, select, update

from letta.schemas.sends import BusyPolicy
from letta.store.tables import runs

_OPEN = ("created", "running")


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
