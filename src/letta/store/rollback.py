"""Takes a turn back: its messages leave the window and the search, and stay stored as messages that do not count.

They are listed with `include_err` only. What the turn did elsewhere, in memory blocks for instance, stays as it is.
"""

from sqlalchemy import Connection, func, select, update

from letta.schemas.messages import Role
from letta.store import pieces
from letta.store.query import now
from letta.store.tables import conversations, messages, runs


def was_cancelled(connection: Connection, run_id: str) -> bool:
    """Whether a run ended because somebody cancelled it."""
    return connection.execute(select(runs.c.status).where(runs.c.id == run_id)).scalar() == "cancelled"


def take_back(connection: Connection, agent_id: str, conversation_id: str, run_id: str) -> None:
    """Take back the turn of a run: the run's messages, and those of the runs whose waiting calls it answered.

    A summary that was made meanwhile stays: it stands for what was said before, too. A turn that a fork shares with the
    conversation it was forked from stays in both.
    """
    turn = _turn(connection, run_id)
    if _is_shared(connection, agent_id, conversation_id, turn):
        return
    mine = (
        messages.c.conversation_id == conversation_id,
        messages.c.run_id.in_(turn),
        messages.c.role != Role.SUMMARY,
    )
    ids = list(connection.execute(select(messages.c.id).where(*mine)).scalars())
    if ids:
        connection.execute(update(messages).where(*mine).values(is_err=True))
        pieces.remove_items(connection, agent_id, ids)
    changed = {"pending_message_id": None, "version": conversations.c.version + 1, "updated_at": now()}
    connection.execute(update(conversations).where(conversations.c.id == conversation_id).values(**changed))


def _is_shared(connection: Connection, agent_id: str, conversation_id: str, turn: list[str]) -> bool:
    query = select(messages.c.conversation_id, messages.c.position).where(messages.c.run_id.in_(turn))
    found = connection.execute(query).all()
    if any(row.conversation_id != conversation_id for row in found):
        return True
    forks = select(func.max(conversations.c.parent_position)).where(
        conversations.c.agent_id == agent_id, conversations.c.parent_id == conversation_id
    )
    furthest = connection.execute(forks).scalar()
    return furthest is not None and any(row.position <= furthest for row in found)


def _turn(connection: Connection, run_id: str) -> list[str]:
    found: list[str] = []
    current: str | None = run_id
    while current is not None and current not in found:
        found.append(current)
        query = select(messages.c.role, messages.c.data).where(messages.c.run_id == current)
        first = connection.execute(query.order_by(messages.c.position).limit(1)).first()
        asked = (first.data or {}).get("request_id") if first is not None and first.role == Role.APPROVAL else None
        current = connection.execute(select(messages.c.run_id).where(messages.c.id == asked)).scalar()
    return found
