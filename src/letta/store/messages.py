"""Stored messages: written once, read in order. Knows conversations as sequences of positions, not what is said."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import (
    Connection,
    Select,
    and_,
    bindparam,
    exists,
    false,
    func,
    insert,
    literal_column,
    not_,
    or_,
    select,
)

from letta.errors import NotFound
from letta.schemas.common import INT32_MAX, stored
from letta.schemas.messages import PARTS, Message, Role
from letta.store import lineage
from letta.store.conversations import Thread, thread
from letta.store.lineage import Segment
from letta.store.query import Order, rows
from letta.store.tables import messages

_COLUMNS = [column for column in messages.c if column.name not in ("parts",)]
_insert = insert(messages)
_named = select(messages).where(messages.c.id.in_(bindparam("message_ids", expanding=True)))
# Written out, so that the index of summaries alone is used for it.
_is_summary = messages.c.role == literal_column("'summary'")


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
    found = connection.execute(_named, {"message_ids": list(message_ids)})
    return {row.id: _message(row) for row in found.all()}


def from_position(connection: Connection, thread: Thread, start: int) -> list[Message]:
    """Every message of the conversation from `start` on, oldest first, forks followed to what they share."""
    line = lineage.segments(connection, thread)
    return _read(connection, line, select(messages), start, INT32_MAX, newest_first=False)


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
        letta.errors.NotFound: a cursor names no message of this conversation, there is no such conversation, or it is
            not the agent's.
    """
    found = thread(connection, conversation_id)
    if agent_id is not None and found.agent_id != agent_id:
        raise NotFound(f"conversation {conversation_id} not found for agent {agent_id}")
    line = lineage.segments(connection, found)
    query = select(messages)
    if not include_errors:
        query = query.where(messages.c.is_err.is_(False))
    if group_id is not None:
        query = query.where(messages.c.group_id == group_id)
    if cursor_order == "list" and order == "desc":
        after, before = before, after
    first = position_of(connection, line, after) + 1 if after else 0
    last = position_of(connection, line, before) - 1 if before else INT32_MAX
    # A lone cursor asks for the messages next to it; without one, `order` says which end.
    newest_first = order == "desc" if bool(after) == bool(before) else bool(before)
    page = _read(connection, line, query, first, last, newest_first=newest_first, limit=limit)
    shown_descending = cursor_order == "list" and order == "desc"
    return page if newest_first == shown_descending else page[::-1]


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


def of_run(connection: Connection, run_id: str, after: int, limit: int) -> list[Message]:
    """The messages of a run behind a position, in order."""
    query = select(messages).where(messages.c.run_id == run_id, messages.c.position > after)
    return [_message(row) for row in connection.execute(query.order_by(messages.c.position).limit(limit))]


def with_otid(connection: Connection, conversation_id: str, otid: str) -> str | None:
    """The run that the newest message with this `otid` was sent in."""
    query = select(messages.c.run_id).where(messages.c.conversation_id == conversation_id, messages.c.otid == otid)
    return connection.execute(query.order_by(messages.c.position.desc()).limit(1)).scalar()


def ids_in_window(connection: Connection, thread: Thread) -> list[str]:
    """The ids of the messages the model sees: the prompt's, the summary's, then everything from the window's start."""
    found: dict[int, str] = {}
    for segment in lineage.segments(connection, thread):
        parts = lineage.between(segment, 0, 0), lineage.between(segment, thread.window_start, INT32_MAX)
        mine = [part for part in parts if part is not None]
        if mine:
            query = select(messages.c.position, messages.c.id).where(or_(*mine), messages.c.is_err.is_(False))
            found.update((row.position, row.id) for row in connection.execute(query))
    ids = [found[position] for position in sorted(found)]
    if thread.summary_message_id is not None and thread.summary_message_id not in ids:
        ids.insert(1 if 0 in found else 0, thread.summary_message_id)
    return ids


def count(connection: Connection, agent_id: str) -> int:
    """How many messages of an agent are stored, in all its conversations."""
    return int(
        connection.execute(
            select(func.count()).select_from(messages).where(messages.c.agent_id == agent_id)
        ).scalar_one()
    )


def position_of(connection: Connection, line: Sequence[Segment], message_id: str) -> int:
    """Where in a conversation a message stands. Raises letta.errors.NotFound when it is not in there."""
    query = select(messages.c.conversation_id, messages.c.position).where(messages.c.id == message_id)
    row = connection.execute(query).first()
    if row is None or not any(segment.holds(row.conversation_id, row.position) for segment in line):
        raise NotFound(f"message {message_id!r} not found in this conversation")
    return int(row.position)


def at(connection: Connection, line: Sequence[Segment], position: int) -> Message | None:
    """The message at a position of a conversation, if there is one."""
    found = _read(connection, line, select(messages), position, position, newest_first=True)
    return found[0] if found else None


def last_summary(connection: Connection, line: Sequence[Segment], upto: int) -> Message | None:
    """The newest summary at or below a position, if there is one."""
    found = _read(connection, line, select(messages).where(_is_summary), 0, upto, newest_first=True, limit=1)
    return found[0] if found else None


def _read(
    connection: Connection,
    line: Sequence[Segment],
    query: Select[Any],
    first: int,
    last: int,
    *,
    newest_first: bool,
    limit: int | None = None,
) -> list[Message]:
    """What a query finds from position `first` to `last`, one segment after the other: a page costs what it holds."""
    position = messages.c.position.desc() if newest_first else messages.c.position.asc()
    found: list[Message] = []
    for segment in line if newest_first else reversed(line):
        mine = lineage.between(segment, first, last)
        if mine is None or (limit is not None and len(found) >= limit):
            continue
        rest = query.where(mine).order_by(position)
        rest = rest if limit is None else rest.limit(limit - len(found))
        found += [_message(row) for row in connection.execute(rest)]
    return found


def _row(message: Message) -> dict[str, Any]:
    row = {column.name: getattr(message, column.name) for column in _COLUMNS}
    row["parts"] = PARTS.dump_json(message.parts, exclude_none=True).decode()
    return row


def _message(row: Any) -> Message:
    values = row._asdict()
    values["parts"] = PARTS.validate_json(values["parts"])
    values["role"] = Role(values["role"])
    # What is stored was validated when it came in.
    return stored(Message, values)
