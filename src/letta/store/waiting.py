"""Conversations in which calls wait for a person or a client. Knows nothing of what is done about them."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, exists, select, update

from letta.store.runs import OPEN
from letta.store.tables import conversations, messages, runs

_busy = exists().where(runs.c.conversation_id == conversations.c.id, runs.c.status.in_(OPEN))


def since_before(connection: Connection, moment: datetime, limit: int) -> Sequence[str]:
    """Conversations whose calls wait since before a moment, without those in which a run is under way or queued."""
    query = (
        select(conversations.c.id)
        .join(messages, messages.c.id == conversations.c.pending_message_id)
        .where(
            conversations.c.pending_message_id.is_not(None),
            conversations.c.deleted_at.is_(None),
            messages.c.created_at < moment,
            ~_busy,
        )
        .limit(limit)
    )
    return connection.execute(query).scalars().all()


def take(connection: Connection, conversation_id: str, message_id: str) -> bool:
    """Let the calls of a message wait no longer. False when they do not: of several that try, one succeeds."""
    mine = update(conversations).where(
        conversations.c.id == conversation_id, conversations.c.pending_message_id == message_id
    )
    return connection.execute(mine.values(pending_message_id=None)).rowcount == 1


def is_free(connection: Connection, conversation_id: str) -> bool:
    """Whether no run is under way or queued."""
    busy = select(exists().where(runs.c.conversation_id == conversation_id, runs.c.status.in_(OPEN)))
    return not connection.execute(busy).scalar_one()
