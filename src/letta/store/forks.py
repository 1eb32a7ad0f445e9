"""Forks: conversations that begin with what another one said so far. Nothing is copied but the mark of where they part.

The cost does not depend on how much was said. What a fork's model sees is what the other's saw at that point.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from letta.schemas.messages import Message, Role
from letta.store import conversations, isolation, lineage, messages
from letta.store.conversations import FIRST_POSITION, Thread
from letta.store.lineage import Segment
from letta.store.tables import agents

_TAKEN_OVER = ("summary", "description", "model", "model_settings", "context_window_limit", "busy_policy")


@dataclass(frozen=True, slots=True)
class _Cut:
    """The last position a fork shares, and the message whose calls wait for an answer there, if any."""

    position: int
    pending_message_id: str | None
    last_message_at: datetime | None


def fork(
    connection: Connection, source_id: str, fork_id: str, *, message_id: str | None = None, hidden: bool = False
) -> None:
    """Store a fork of a conversation, with all it said or up to and including a message.

    Calls stay with their results: a fork at a message that calls tools has their results too, unless they wait for a
    person or a client; then they wait in the fork as well, and are answered in each conversation by itself.

    Raises:
        letta.errors.NotFound: no such conversation, or the message is not in it.
    """
    shown, thread = conversations.get(connection, source_id)
    line = lineage.segments(connection, thread)
    if message_id is None:
        cut = _Cut(thread.next_position - 1, thread.pending_message_id, shown.last_message_at)
    else:
        cut = _cut_at(connection, line, message_id)
    values: dict[str, Any] = {name: getattr(shown, name) for name in _TAKEN_OVER}
    values |= {"model_settings": thread.model_settings, "hidden": hidden, "last_message_at": cut.last_message_at}
    if cut.position >= FIRST_POSITION:
        start, summary_id = window_at(connection, thread, line, cut.position)
        values |= {
            "parent_id": lineage.owner_of(line, cut.position),
            "parent_position": cut.position,
            "window_start": start,
            "summary_message_id": summary_id,
            "pending_message_id": cut.pending_message_id,
        }
    following = max(FIRST_POSITION, cut.position + 1)
    conversations.start(connection, fork_id, thread.agent_id, next_position=following, **values)
    if thread.id != thread.agent_id:
        copies = isolation.of_conversation(connection, thread.id)
        isolation.copy(connection, thread.agent_id, fork_id, copies)


def _cut_at(connection: Connection, line: Sequence[Segment], message_id: str) -> _Cut:
    position = messages.position_of(connection, line, message_id)
    found = messages.get(connection, message_id)
    if found.role is Role.ASSISTANT and any(call.pending for call in found.tool_calls):
        return _Cut(position, found.id, found.created_at)
    if found.role is Role.APPROVAL or found.tool_calls:
        following = messages.at(connection, line, position + 1)
        if following is not None and following.role is Role.TOOL:
            return _Cut(position + 1, None, following.created_at)
    return _Cut(position, None, found.created_at)


def window_at(connection: Connection, thread: Thread, line: Sequence[Segment], position: int) -> tuple[int, str | None]:
    """Where the model's window began, and with which summary, when a position was the last one.

    A window that a person emptied is not remembered: before that point it is taken to reach back to the last summary.
    """
    if position >= thread.window_start - 1:
        return thread.window_start, thread.summary_message_id
    if connection.execute(select(agents.c.message_buffer_autoclear).where(agents.c.id == thread.agent_id)).scalar():
        return position + 1, None
    summary: Message | None = messages.last_summary(connection, line, position)
    if summary is None:
        return 0, None
    return int((summary.data or {}).get("window_start", 0)), summary.id
