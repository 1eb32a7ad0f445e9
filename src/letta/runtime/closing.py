"""Calls that get no result of their own any more: closed, so that the transcript stays one that models accept."""

from datetime import datetime

from sqlalchemy import Connection

from letta.runtime import approvals, transcript
from letta.schemas.common import new_id
from letta.schemas.messages import Message, Role
from letta.store import conversations, messages, waiting
from letta.store.query import now
from letta.store.runs import Work

LATE = "late"
"""Marks what was stored of a run when its readers had seen its end already."""
CUT_SHORT = "Error: the run was ended while this tool ran. Its outcome is unknown: check before you repeat it."


def close_pending(
    connection: Connection, conversation_id: str, why: str = approvals.CANCELLED, *, before: datetime | None = None
) -> str | None:
    """Answer calls that nobody will answer any more. Returns the run they came from, None when none waited.

    `why` becomes their result; `before` leaves alone what began to wait later.

    Raises:
        letta.errors.NotFound: no such conversation.
    """
    pending = conversations.thread(connection, conversation_id).pending_message_id
    if pending is None:
        return None
    asked = messages.get(connection, pending)
    if (before is not None and asked.created_at >= before) or not waiting.take(connection, conversation_id, pending):
        return None
    closing = Message(
        id=new_id("message"),
        role=Role.TOOL,
        parts=list(approvals.closed(asked.tool_calls, why)),
        agent_id=asked.agent_id,
        conversation_id=conversation_id,
        created_at=now(),
        run_id=asked.run_id,
        step_id=asked.step_id,
        data=asked.data,
    )
    closing.position = conversations.advance(connection, conversation_id, 1, closing.created_at) - 1
    messages.add(connection, [closing])
    return asked.run_id


def close_calls(connection: Connection, work: Work) -> None:
    """Answer calls that were being carried out when their run ended before its time."""
    said = messages.page(connection, {"run_id": work.id}, sort="position", order="asc", limit=None)
    if said and said[0].role is Role.APPROVAL:
        said.insert(0, messages.get(connection, (said[0].data or {})["request_id"]))
    lost = transcript.unanswered(said)
    if not lost:
        return
    last = next(message for message in reversed(said) if message.role is Role.ASSISTANT)
    # The mark on a call stays when it was answered: whether it still waits, the conversation knows.
    if conversations.thread(connection, work.conversation_id).pending_message_id == last.id:
        return
    closing = transcript.closing(lost, last, work, now())
    closing.parts = [part.model_copy(update={"content": CUT_SHORT}) for part in closing.tool_returns]
    closing.data = {**(closing.data or {}), LATE: True}
    closing.position = conversations.advance(connection, work.conversation_id, 1, closing.created_at) - 1
    messages.add(connection, [closing])
