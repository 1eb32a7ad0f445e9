"""Searching what was said: `/v1/messages/search`, and its older form `/v1/agents/messages/search`."""

from typing import Any
from zoneinfo import ZoneInfo

from fastapi import Response

from letta.api import routes
from letta.api.context import Parts, Server, reply
from letta.api.passages import HOW, timezone_of
from letta.api.wire import to_wire
from letta.memory.recall import moment
from letta.schemas.message_search import FoundMessage, MessageSearch, MessageSearchResult
from letta.schemas.messages import Message, Role
from letta.store import agents, messages, search
from letta.store.pieces import MESSAGE
from letta.store.search import Hit, Mode, Wanted

router = routes.router(prefix="/v1", tags=["messages"])

_TYPES = {Role.SYSTEM: "system_message", Role.USER: "user_message", Role.ASSISTANT: "assistant_message"}


@router.post("/messages/search", response_model=list[FoundMessage])
async def search_messages(parts: Parts, body: MessageSearch) -> Response:
    """Messages that fit best by meaning and by words, best first; what tools answered is not searched."""
    found, mode = await _find(parts, body)
    return _told([_newer(message, hit) for message, hit in found], mode)


@router.post("/agents/messages/search", response_model=list[MessageSearchResult], deprecated=True)
async def search_agent_messages(parts: Parts, body: MessageSearch) -> Response:
    """The same, in the older form."""
    found, mode = await _find(parts, body)
    results = [
        MessageSearchResult(
            embedded_text=search.searchable_text(message),
            message=next(iter(to_wire(message)), {}),
            fts_rank=hit.word_rank,
            vector_rank=hit.vector_rank,
            rrf_score=hit.score,
        )
        for message, hit in found
    ]
    return _told(results, mode)


async def _find(parts: Server, body: MessageSearch) -> tuple[list[tuple[Message, Hit]], Mode]:
    wanted = await _wanted(parts, body)
    if wanted is None:
        return [], body.search_mode
    result, known = await parts.recall.find(wanted, messages.named)
    if not result.hits and body.agent_id is not None:
        # Nothing, or nobody? Asked only here, because most searches find something.
        await parts.database.read(agents.require, body.agent_id)
    return [(known[hit.item_id], hit) for hit in result.hits if hit.item_id in known], result.mode


async def _wanted(parts: Server, body: MessageSearch) -> Wanted | None:
    """The search, or None when no message can be what is asked for."""
    roles = tuple(role for role in body.roles or () if role in _TYPES)
    if body.roles and not roles:
        return None
    zone = ZoneInfo("UTC")
    if body.agent_id is not None and (body.start_date or body.end_date):
        zone = await parts.database.read(timezone_of, body.agent_id)
    thread = body.conversation_id
    if thread == "default":
        thread = body.agent_id
    return Wanted(
        MESSAGE,
        body.query,
        None if body.agent_id is None else (body.agent_id,),
        mode=body.search_mode,
        roles=roles,
        thread=thread,
        after=moment(body.start_date, zone, "start_date", end_of_day=False),
        before=moment(body.end_date, zone, "end_date", end_of_day=True),
        limit=body.limit,
    )


def _newer(message: Message, hit: Hit) -> dict[str, Any]:
    own_thread = message.conversation_id == message.agent_id
    shown = FoundMessage(
        message_type=_TYPES[message.role],
        content=search.searchable_text(message),
        message_id=message.id,
        agent_id=message.agent_id,
        conversation_id=None if own_thread else message.conversation_id,
        created_at=message.created_at,
        score=hit.score,
    )
    return shown.model_dump(mode="json")


def _told(value: Any, mode: Mode) -> Response:
    response = reply(value)
    response.headers[HOW] = mode
    return response
