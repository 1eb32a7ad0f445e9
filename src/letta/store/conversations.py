"""Conversations as rows. The thread an agent has by itself is the one whose id is the agent's own."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update

from letta.errors import NotFound
from letta.store.query import now
from letta.store.tables import conversations

_by_id = select(conversations).where(
    conversations.c.id == bindparam("conversation_id"), conversations.c.deleted_at.is_(None)
)
_insert = insert(conversations)
_advance = (
    update(conversations)
    .where(conversations.c.id == bindparam("conversation_id"))
    .values(
        next_position=conversations.c.next_position + bindparam("count"),
        version=conversations.c.version + 1,
        last_message_at=bindparam("moment"),
        updated_at=bindparam("moment"),
    )
    .returning(conversations.c.next_position)
)


@dataclass(frozen=True, slots=True)
class Thread:
    """Where a conversation stands: the next free position, and from which one on the model sees it."""

    id: str
    agent_id: str
    next_position: int
    window_start: int
    summary_message_id: str | None
    version: int
    pending_message_id: str | None = None
    model: str | None = None
    model_settings: dict[str, Any] | None = None
    context_window_limit: int | None = None


def start(connection: Connection, conversation_id: str, agent_id: str, *, next_position: int = 0) -> None:
    """Store a new, empty conversation."""
    moment = now()
    connection.execute(
        _insert,
        {
            "id": conversation_id,
            "agent_id": agent_id,
            "hidden": False,
            "next_position": next_position,
            "window_start": 0,
            "version": 1,
            "created_at": moment,
            "updated_at": moment,
        },
    )


def thread(connection: Connection, conversation_id: str) -> Thread:
    """Raises letta.errors.NotFound."""
    row = connection.execute(_by_id, {"conversation_id": conversation_id}).first()
    if row is None:
        kind = "agent" if conversation_id.startswith("agent-") else "conversation"
        raise NotFound(f"{kind} {conversation_id} not found")
    return Thread(
        id=row.id,
        agent_id=row.agent_id,
        next_position=row.next_position,
        window_start=row.window_start,
        summary_message_id=row.summary_message_id,
        version=row.version,
        pending_message_id=row.pending_message_id,
        model=row.model,
        model_settings=row.model_settings,
        context_window_limit=row.context_window_limit,
    )


def advance(connection: Connection, conversation_id: str, count: int, moment: datetime) -> int:
    """Take the next `count` positions for messages that are being added. Returns the position after them."""
    values = {"conversation_id": conversation_id, "count": count, "moment": moment}
    return int(connection.execute(_advance, values).scalar_one())


def set_pending(connection: Connection, conversation_id: str, message_id: str | None) -> None:
    """Note which assistant message waits for answers, if any."""
    connection.execute(
        update(conversations).where(conversations.c.id == conversation_id).values(pending_message_id=message_id)
    )


def move_window(
    connection: Connection,
    conversation_id: str,
    start_at: int,
    summary_message_id: str | None,
    *,
    next_position: int | None = None,
) -> None:
    """Let the model see the summary, if any, and then every message from `start_at` on.

    `next_position` is given when messages were added in the same transaction.
    """
    counter = {} if next_position is None else {"next_position": next_position}
    connection.execute(
        update(conversations)
        .where(conversations.c.id == conversation_id)
        .values(
            window_start=start_at,
            summary_message_id=summary_message_id,
            pending_message_id=None,
            version=conversations.c.version + 1,
            updated_at=now(),
            **counter,
        )
    )
