"""Stored messages: written once, read in order. Knows conversations as sequences of positions, not what is said."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, Select, and_, bindparam, exists, false, func, insert, not_, or_, select

from letta.errors import NotFound
from letta.schemas.messages import PARTS, Message, Role
from letta.store.conversations import Thread, thread
from letta.store.query import Order, rows
from letta.store.tables import conversations, messages

_COLUMNS = [column for column in messages.c if column.name not in ("parts",)]
_insert = insert(messages)
_lineage = select(conversations.c.parent_id, conversations.c.parent_position).where(
    conversations.c.id == bindparam("conversation_id")
)


def add(connection: Connection, new: Sequence[Message]) -> None:
    """Store messages; each has its conversation and position already."""
    if new:
        connection.execute(_insert, [_row(message) for message in new])


def get(connection: Connection, message_id: str) -> Message:
    """Raises letta.errors.NotFound."""
    row = connection.execute(select(messages).where(messages.c.id == message_id)).first()
    if row is None:
        raise NotFound(f"message {message_id} not found")
    return _message(row)


def named(connection: Connection, message_ids: Sequence[str]) -> dict[str, Message]:
    """Messages by id, without those that are gone."""
    query = select(messages).where(messages.c.id.in_(message_ids))
    return {row.id: _message(row) for row in connection.execute(query)}


def from_position(connection: Connection, conversation_id: str, start: int) -> list[Message]:
    """Every message of the conversation from `start` on, oldest first, forks followed to what they share."""
    query = select(messages).where(in_conversation(connection, conversation_id), messages.c.position >= start)
    return [_message(row) for row in connection.execute(query.order_by(messages.c.position))]


def conversation_page(
    connection: Connection,
    conversation_id: str,
    *,
    cursor_order: Literal["time", "list"],
    order: Order = "desc",
    after: str | None = None,
    before: str | None = None,
    limit: int | None = 100,
    include_errors: bool = False,
    group_id: str | None = None,
    agent_id: str | None = None,
) -> list[Message]:
    """One page of a conversation, of the given agent if there is one.

    With `cursor_order="time"` cursors mean earlier and later whatever the order, and the page is always oldest first:
    `order` only says from which end it is taken. With `"list"` cursors and page follow `order`.

    Raises:
        letta.errors.NotFound: a cursor names no message of this conversation, or the agent has no such conversation.
    """
    if agent_id is not None and thread(connection, conversation_id).agent_id != agent_id:
        raise NotFound(f"conversation {conversation_id} not found for agent {agent_id}")
    query = select(messages).where(in_conversation(connection, conversation_id))
    if not include_errors:
        query = query.where(messages.c.is_err.is_(False))
    if group_id is not None:
        query = query.where(messages.c.group_id == group_id)
    if cursor_order == "list" and order == "desc":
        after, before = before, after
    for cursor, later in ((after, True), (before, False)):
        if cursor:
            position = _position(connection, conversation_id, cursor)
            query = query.where(messages.c.position > position if later else messages.c.position < position)
    # A lone cursor asks for the messages next to it; without one, `order` says which end.
    newest_first = order == "desc" if bool(after) == bool(before) else bool(before)
    ordered = query.order_by(messages.c.position.desc() if newest_first else messages.c.position.asc())
    found = [_message(row) for row in connection.execute(ordered if limit is None else ordered.limit(limit))]
    shown_descending = cursor_order == "list" and order == "desc"
    return found if newest_first == shown_descending else found[::-1]


def everywhere(
    connection: Connection,
    conversation_id: str | None,
    after: str | None,
    before: str | None,
    order: Order,
    limit: int,
) -> list[Message]:
    """One page over all agents, oldest first; cursors mean earlier and later, `order` says from which end."""
    if conversation_id is not None:
        return conversation_page(
            connection, conversation_id, cursor_order="time", order=order, after=after, before=before, limit=limit
        )
    newest_first = order == "desc" if bool(after) == bool(before) else bool(before)
    if newest_first:
        found = rows(connection, select(messages), messages, order="desc", after=before, before=after, limit=limit)
        return [_message(row) for row in reversed(found)]
    found = rows(connection, select(messages), messages, order="asc", after=after, before=before, limit=limit)
    return [_message(row) for row in found]


def in_group(
    connection: Connection, group_id: str, after: str | None, before: str | None, order: Order, limit: int
) -> list[Message]:
    """One page of what was said in a group, oldest first, each thing once; cursors as in `everywhere`.

    Every agent's thread keeps what it heard: what agents heard from each other, or from the group itself, is left out,
    and of the copies of one message from outside the first is shown.
    """
    copy = messages.alias()
    told = and_(
        messages.c.role == Role.SYSTEM,
        or_(messages.c.sender_id.like("agent-%"), messages.c.sender_id.like("group-%")),
    )
    earlier = or_(
        copy.c.created_at < messages.c.created_at,
        and_(copy.c.created_at == messages.c.created_at, copy.c.id < messages.c.id),
    )
    shown_before = exists().where(copy.c.group_id == group_id, copy.c.otid == messages.c.otid, earlier)
    query = select(messages).where(
        messages.c.group_id == group_id, not_(func.coalesce(told, false())), not_(shown_before)
    )
    newest_first = order == "desc" if bool(after) == bool(before) else bool(before)
    if newest_first:
        found = rows(connection, query, messages, order="desc", after=before, before=after, limit=limit)
        return [_message(row) for row in reversed(found)]
    found = rows(connection, query, messages, order="asc", after=after, before=before, limit=limit)
    return [_message(row) for row in found]


def between(
    connection: Connection, agent_id: str, after: tuple[datetime, str], before: datetime | None, limit: int
) -> list[Message]:
    """An agent's messages in all its conversations: those after a moment and id, and before a moment, oldest first."""
    moment, message_id = after
    later = or_(messages.c.created_at > moment, and_(messages.c.created_at == moment, messages.c.id > message_id))
    query = select(messages).where(messages.c.agent_id == agent_id, later)
    if before is not None:
        query = query.where(messages.c.created_at < before)
    found = connection.execute(query.order_by(messages.c.created_at, messages.c.id).limit(limit))
    return [_message(row) for row in found]


def page(connection: Connection, query_filter: dict[str, str], **paging: Any) -> list[Message]:
    """One page over all conversations; `query_filter` maps column names (run_id, step_id, agent_id) to values."""
    query: Select[Any] = select(messages).where(*(messages.c[name] == value for name, value in query_filter.items()))
    return [_message(row) for row in rows(connection, query, messages, **paging)]


def ids_in_window(connection: Connection, thread: Thread) -> list[str]:
    """The ids of the messages the model sees: the prompt's, the summary's, then everything from the window's start."""
    mine = in_conversation(connection, thread.id)
    window = or_(messages.c.position >= thread.window_start, messages.c.position == 0)
    if thread.summary_message_id is not None:
        window = or_(window, messages.c.id == thread.summary_message_id)
    query = select(messages.c.id).where(mine, window).order_by(messages.c.position)
    return list(connection.execute(query).scalars())


def count(connection: Connection, agent_id: str) -> int:
    """How many messages of an agent are stored, in all its conversations."""
    return int(
        connection.execute(
            select(func.count()).select_from(messages).where(messages.c.agent_id == agent_id)
        ).scalar_one()
    )


def in_conversation(connection: Connection, conversation_id: str) -> Any:
    """The condition that a message belongs to a conversation or, below the fork, to one it was forked from."""
    conditions: list[Any] = []
    current, upto = conversation_id, None
    while current:
        mine = messages.c.conversation_id == current
        conditions.append(mine if upto is None else and_(mine, messages.c.position <= upto))
        parent = connection.execute(_lineage, {"conversation_id": current}).first()
        if parent is None or parent.parent_id is None:
            break
        upto = parent.parent_position if upto is None else min(upto, parent.parent_position)
        current = parent.parent_id
    return conditions[0] if len(conditions) == 1 else or_(*conditions)


def _position(connection: Connection, conversation_id: str, message_id: str) -> int:
    query = select(messages.c.position).where(in_conversation(connection, conversation_id), messages.c.id == message_id)
    position = connection.execute(query).scalar()
    if position is None:
        raise NotFound(f"cursor {message_id!r} not found in this conversation")
    return int(position)


def _row(message: Message) -> dict[str, Any]:
    row = {column.name: getattr(message, column.name) for column in _COLUMNS}
    row["parts"] = PARTS.dump_json(message.parts, exclude_none=True).decode()
    return row


def _message(row: Any) -> Message:
    values = row._asdict()
    values["parts"] = PARTS.validate_json(values["parts"])
    values["role"] = Role(values["role"])
    # What is stored was validated when it came in.
    return Message.model_construct(**values)
