"""Conversations as rows. The thread an agent has by itself is the one whose id is the agent's own; no list shows it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import Connection, bindparam, insert, select, update

from letta.errors import NotFound
from letta.schemas.conversations import ArchiveStatus, Conversation
from letta.schemas.model_settings import ModelSettings
from letta.store.query import like, now, rows
from letta.store.tables import conversations

FIRST_POSITION = 1
"""Where the messages of a conversation begin: 0 is the place of its prompt."""

_SETTINGS: TypeAdapter[ModelSettings] = TypeAdapter(ModelSettings)
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
_note_run = (
    update(conversations)
    .where(conversations.c.id == bindparam("conversation_id"))
    .values(last_run_completion=bindparam("moment"))
)
_SHOWN = (
    "id", "agent_id", "summary", "description", "model", "context_window_limit", "hidden", "archived_at",
    "last_message_at", "created_at", "updated_at", "busy_policy",
)  # fmt: skip


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
    parent_id: str | None = None
    parent_position: int | None = None


@dataclass(frozen=True, slots=True)
class ConversationFilter:
    """What to list; None does not filter."""

    agent_id: str | None = None
    archive_status: ArchiveStatus = ArchiveStatus.UNARCHIVED
    summary_search: str | None = None
    show_hidden: bool = False


def start(
    connection: Connection, conversation_id: str, agent_id: str, *, next_position: int = 0, **values: Any
) -> None:
    """Store a new conversation; `values` are further columns."""
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
            **values,
        },
    )


def thread(connection: Connection, conversation_id: str) -> Thread:
    """Raises letta.errors.NotFound."""
    return _thread(_row(connection, conversation_id))


def get(connection: Connection, conversation_id: str) -> tuple[Conversation, Thread]:
    """The conversation as it is shown, without its blocks and messages. Raises letta.errors.NotFound."""
    row = _row(connection, conversation_id)
    return _shown(row), _thread(row)


def list_page(
    connection: Connection, wanted: ConversationFilter, /, **paging: Any
) -> list[tuple[Conversation, Thread]]:
    """One page of conversations; paging as in `letta.store.query.rows`."""
    query = select(conversations).where(
        conversations.c.id != conversations.c.agent_id, conversations.c.deleted_at.is_(None)
    )
    if wanted.agent_id is not None:
        query = query.where(conversations.c.agent_id == wanted.agent_id)
    if wanted.archive_status is not ArchiveStatus.ALL:
        archived = wanted.archive_status is ArchiveStatus.ARCHIVED
        column = conversations.c.archived_at
        query = query.where(column.is_not(None) if archived else column.is_(None))
    if wanted.summary_search is not None:
        query = query.where(conversations.c.summary.ilike(like(wanted.summary_search), escape="\\"))
    if not wanted.show_hidden:
        query = query.where(conversations.c.hidden.is_(False))
    return [(_shown(row), _thread(row)) for row in rows(connection, query, conversations, **paging)]


def change(connection: Connection, conversation_id: str, values: dict[str, Any]) -> None:
    """Write columns and let the next request read the conversation anew. Raises letta.errors.NotFound."""
    changed = update(conversations).where(conversations.c.id == conversation_id, conversations.c.deleted_at.is_(None))
    raised = {"version": conversations.c.version + 1, "updated_at": now()}
    if connection.execute(changed.values(**values, **raised)).rowcount == 0:
        raise NotFound(f"conversation {conversation_id} not found")


def advance(connection: Connection, conversation_id: str, count: int, moment: datetime) -> int:
    """Take the next `count` positions for messages that are being added. Returns the position after them.

    Raises:
        letta.errors.NotFound: the conversation is gone.
    """
    values = {"conversation_id": conversation_id, "count": count, "moment": moment}
    end = connection.execute(_advance, values).scalar_one_or_none()
    if end is None:
        raise NotFound(f"conversation {conversation_id} not found")
    return int(end)


def note_run(connection: Connection, conversation_id: str, moment: datetime) -> None:
    """Remember when the last run ended; nothing the model sees, so the version stays."""
    connection.execute(_note_run, {"conversation_id": conversation_id, "moment": moment})


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


def _row(connection: Connection, conversation_id: str) -> Any:
    row = connection.execute(_by_id, {"conversation_id": conversation_id}).first()
    if row is None:
        kind = "agent" if conversation_id.startswith("agent-") else "conversation"
        raise NotFound(f"{kind} {conversation_id} not found")
    return row


def _thread(row: Any) -> Thread:
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
        parent_id=row.parent_id,
        parent_position=row.parent_position,
    )


def _shown(row: Any) -> Conversation:
    settings = None if row.model_settings is None else _SETTINGS.validate_python(row.model_settings)
    return Conversation(
        **{name: getattr(row, name) for name in _SHOWN},
        model_settings=settings,
        archived=row.archived_at is not None,
    )
