"""The moment when a run that waited gets its turn: what it makes room for itself with, and who is heard with it.

Everything here runs in the transaction that makes the run the running one. Knows nothing of processes and queues.
"""

from typing import Any, NamedTuple

from sqlalchemy import Connection

from letta.runtime.closing import close_pending
from letta.schemas.sends import BusyPolicy, SendRequest
from letta.store import arrivals, conversations, messages, rollback, runs
from letta.store.runs import Versions, Work


class Turn(NamedTuple):
    """A run that may begin, what it starts from, and the ids of the waiting runs that it answers for, too."""

    work: Work
    versions: Versions
    others: tuple[str, ...] = ()


def take_turn(connection: Connection, run_id: str, owner: str) -> Turn | None:
    """Make a run the running one of its conversation. None when it has ended, or another run answers it.

    Raises:
        letta.errors.NotFound: agent or conversation is gone.
        letta.errors.Busy: another run is running.
    """
    work = runs.claim(connection, run_id, owner)
    if work is None:
        return None
    others: tuple[str, ...] = ()
    match work.request.get("busy_policy"):
        case BusyPolicy.INTERRUPT:
            close_pending(connection, work.conversation_id)
        case BusyPolicy.ROLLBACK:
            _take_back(connection, work)
        case BusyPolicy.MERGE if work.attempt == 1:
            work, others = _merge(connection, work)
    return Turn(work, runs.current_versions(connection, work.agent_id, work.conversation_id), others)


def _take_back(connection: Connection, work: Work) -> None:
    """Take back the turn that was cancelled for this one, and one whose calls wait for an answer."""
    earlier = work.request.get("rolls_back")
    if earlier is not None and rollback.was_cancelled(connection, earlier):
        rollback.take_back(connection, work.agent_id, work.conversation_id, earlier)
    pending = conversations.thread(connection, work.conversation_id).pending_message_id
    if pending is not None and (asked := messages.get(connection, pending)).run_id is not None:
        rollback.take_back(connection, work.agent_id, work.conversation_id, asked.run_id)
        # A turn that a fork shares is not taken back: then its calls are closed.
        close_pending(connection, work.conversation_id)


def _merge(connection: Connection, work: Work) -> tuple[Work, tuple[str, ...]]:
    """Say what others want to say who wait right behind this run, too.

    Not those that gave it another time to end in: the deadline of one must not end the others.
    """
    taken, seconds = [], work.request.get("deadline_seconds")
    for row in arrivals.unfinished(connection, work.conversation_id):
        if row.id == work.id:
            continue
        if row.request.get("busy_policy") != BusyPolicy.MERGE or row.request.get("deadline_seconds") != seconds:
            break
        taken.append(row)
    if not taken:
        return work, ()
    said = [item for request in (work.request, *(row.request for row in taken)) for item in _inputs(request)]
    request = {**work.request, "messages": said}
    request.pop("input", None)
    others = tuple(row.id for row in taken)
    runs.change_request(connection, work.id, request)
    arrivals.join(connection, work.id, others, 0)
    return work._replace(request=request), others


def _inputs(request: dict[str, Any]) -> list[dict[str, Any]]:
    return [item.model_dump(mode="json", exclude_none=True) for item in SendRequest.model_validate(request).inputs()]
