"""What a fork consists of: its own messages, and up to where it was forked those of the conversations before it.

Nothing is copied when a conversation is forked. Positions go on counting, so every position of a conversation belongs
to exactly one of them. Knows nothing of what messages say.
"""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, bindparam, select

from letta.schemas.common import INT32_MAX
from letta.store.conversations import Thread
from letta.store.tables import conversations, messages

_first = select(conversations.c.id, conversations.c.parent_id, conversations.c.parent_position)
_line = _first.where(conversations.c.id == bindparam("conversation_id")).cte("line", recursive=True)
_line = _line.union_all(_first.join(_line, conversations.c.id == _line.c.parent_id))
_ancestors = select(_line)


class Segment(NamedTuple):
    """Positions `first` to `last`, both included, whose messages are stored under one conversation."""

    conversation_id: str
    first: int
    last: int

    def holds(self, conversation_id: str, position: int) -> bool:
        return self.conversation_id == conversation_id and self.first <= position <= self.last


def segments(connection: Connection, thread: Thread) -> list[Segment]:
    """The segments of a conversation, the newest first; they touch each other, and the last begins at 0."""
    if thread.parent_id is None:
        return [Segment(thread.id, 0, INT32_MAX)]
    parents = {row.id: row for row in connection.execute(_ancestors, {"conversation_id": thread.id})}
    found: list[Segment] = []
    current, last = thread.id, INT32_MAX
    while (row := parents[current]).parent_id is not None:
        if last > row.parent_position:
            found.append(Segment(current, row.parent_position + 1, last))
        current, last = row.parent_id, min(last, row.parent_position)
    return [*found, Segment(current, 0, last)]


def owner_of(line: Sequence[Segment], position: int) -> str:
    """The conversation under which the message at a position is stored."""
    return next(one.conversation_id for one in line if one.first <= position <= one.last)


def between(segment: Segment, first: int, last: int) -> ColumnElement[bool] | None:
    """The condition that a message is one of the segment from position `first` to `last`; None if none can be."""
    low, high = max(segment.first, first), min(segment.last, last)
    if low > high:
        return None
    condition = messages.c.conversation_id == segment.conversation_id
    if low > 0:
        condition &= messages.c.position >= low
    return condition if high == INT32_MAX else condition & (messages.c.position <= high)
