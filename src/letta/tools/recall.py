"""The tools of conversation: sending the reply (older agent types) and searching what was said before."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, time
from typing import Any
from zoneinfo import ZoneInfo

import orjson

from letta.errors import ToolFailed
from letta.schemas.messages import Message
from letta.store import messages, search
from letta.store.query import now
from letta.store.vectors import Matrices
from letta.tools.context import ToolContext

DEFAULT_RESULTS = 5
_MAX_RESULTS = 100
_DATE_ONLY = re.compile(r"\d{4}-\d{2}-\d{2}")


def send_message(context: ToolContext, message: str) -> str:
    return "Sent message successfully."


def conversation_search(
    context: ToolContext,
    query: str | None = None,
    roles: Sequence[str] | None = None,
    limit: int | None = None,
    start_date: str | None = None,
    end_date: str | None = None,
) -> str:
    zone = ZoneInfo(context.timezone)
    wanted = search.Wanted(
        "message",
        query or "",
        (context.agent_id,),
        mode="fts",
        roles=tuple(role for role in roles or () if role != "tool"),
        after=moment(start_date, zone, "start_date", end_of_day=False),
        before=moment(end_date, zone, "end_date", end_of_day=True),
        limit=min(limit or DEFAULT_RESULTS, _MAX_RESULTS),
    )
    words = search.by_words(context.connection, wanted)
    hits = search.finish(context.connection, Matrices(), wanted, words, {}, {}, now()).hits
    if not hits:
        return "No messages found."
    found = [messages.get(context.connection, hit.item_id) for hit in hits]
    return orjson.dumps({"count": len(found), "results": [_result(message, zone) for message in found]}).decode()


def _result(message: Message, zone: ZoneInfo) -> dict[str, Any]:
    return {
        "timestamp": message.created_at.astimezone(zone).isoformat(timespec="seconds"),
        "time_ago": age(message.created_at, now()),
        "role": message.role.value,
        "content": search.searchable_text(message),
    }


def age(then: datetime, present: datetime) -> str:
    """How long ago something was, in the largest whole unit."""
    seconds = max(0, int((present - then).total_seconds()))
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            return f"{seconds // length} {unit}{'s' if seconds // length > 1 else ''} ago"
    return "just now"


def moment(text: str | None, zone: ZoneInfo, name: str, *, end_of_day: bool) -> datetime | None:
    """An ISO 8601 time in the agent's timezone. A date alone means its first moment, or its last for an end.

    Raises:
        letta.errors.ToolFailed: when the text is neither.
    """
    if not text:
        return None
    try:
        if _DATE_ONLY.fullmatch(text.strip()):
            day = datetime.fromisoformat(text.strip()).date()
            return datetime.combine(day, time.max if end_of_day else time.min, zone).astimezone(UTC)
        parsed = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ToolFailed(
            f"{name} {text!r} is not an ISO 8601 date or time such as 2026-01-31 or 2026-01-31T15:30"
        ) from None
    return (parsed.replace(tzinfo=zone) if parsed.tzinfo is None else parsed).astimezone(UTC)
