"""An agent's archival memory: `/v1/agents/{id}/archival-memory`; and searching passages wherever they are."""

from typing import Annotated, Any
from zoneinfo import ZoneInfo

from fastapi import Query, Response
from sqlalchemy import Connection

from letta.api import routes
from letta.api.context import MAX_PAGE, AgentId, Parts, PassageId, reply
from letta.memory import archival
from letta.memory.archival import Answer, Question
from letta.memory.recall import moment
from letta.schemas.common import iso
from letta.schemas.passages import (
    ArchivalResult,
    ArchivalSearchResponse,
    CreatePassage,
    Passage,
    PassageSearch,
    PassageSearchItem,
    TagMatchMode,
)
from letta.store import agents, archives, passages
from letta.store.query import now
from letta.tools.archival import RESULTS

router = routes.router(prefix="/v1", tags=["passages"])

Limit = Annotated[int, Query(ge=1, le=MAX_PAGE)]
Tags = Annotated[list[str] | None, Query()]
HOW = "X-Search-Mode"
"""The header that says how a search went: `hybrid`, `vector`, or `fts` where there was no vector to compare with."""


@router.get("/agents/{agent_id}/archival-memory", response_model=list[Passage])
async def list_passages(
    parts: Parts,
    agent_id: AgentId,
    after: str | None = None,
    before: str | None = None,
    limit: Limit = 100,
    search: Annotated[str | None, Query(description="Only passages that hold this text")] = None,
    ascending: bool = True,
) -> Response:
    """What the agent keeps in its archives, oldest first."""
    order = "asc" if ascending else "desc"
    paging = {"after": after, "before": before, "limit": limit, "order": order}
    return reply(await parts.database.read(_page, agent_id, search, paging))


@router.post("/agents/{agent_id}/archival-memory", response_model=list[Passage])
async def create_passage(parts: Parts, agent_id: AgentId, body: CreatePassage) -> Response:
    """Keep a text for the agent; its archive is made when it has none. The answer is a list of one."""
    return reply(await parts.database.write(archival.keep, agent_id, [body]))


@router.get("/agents/{agent_id}/archival-memory/search", response_model=ArchivalSearchResponse)
async def search_archival_memory(
    parts: Parts,
    agent_id: AgentId,
    query: str,
    tags: Tags = None,
    tag_match_mode: TagMatchMode = "any",
    top_k: Annotated[int, Query(ge=1, le=100)] = RESULTS,
    start_datetime: str | None = None,
    end_datetime: str | None = None,
) -> Response:
    """Search as the agent does: by meaning and by words. An empty query finds nothing."""
    zone = await parts.database.read(timezone_of, agent_id)
    after = moment(start_datetime, zone, "start_datetime", end_of_day=False)
    before = moment(end_datetime, zone, "end_datetime", end_of_day=True)
    question = Question(_clean(query), tuple(tags or ()), tag_match_mode, after, before, top_k)
    if not question.query.strip():
        return reply(ArchivalSearchResponse(results=[], count=0))
    answer = await archival.find_for_agent(parts.database, parts.recall, agent_id, question)
    results = [
        ArchivalResult(
            id=one.passage.id,
            timestamp=iso(one.passage.created_at or now()),
            content=one.shown,
            tags=one.passage.tags or [],
        )
        for one in answer.found
    ]
    return _told(ArchivalSearchResponse(results=results, count=len(results)), answer)


@router.delete("/agents/{agent_id}/archival-memory/{memory_id}", response_model=dict[str, Any])
async def delete_passage(parts: Parts, agent_id: AgentId, memory_id: PassageId) -> Response:
    await parts.database.write(_forget, agent_id, memory_id)
    return reply({"message": f"Memory id={memory_id} successfully deleted"})


@router.post("/passages/search", response_model=list[PassageSearchItem])
async def search_passages(parts: Parts, body: PassageSearch) -> Response:
    """Search an archive, an agent's archives, or all. Without a query the newest passages are given."""
    zone, chosen = await parts.database.read(_scope, body)
    question = Question(
        body.query or "",
        tuple(body.tags or ()),
        body.tag_match_mode,
        moment(body.start_date, zone, "start_date", end_of_day=False),
        moment(body.end_date, zone, "end_date", end_of_day=True),
        body.limit,
        body.search_mode,
    )
    answer = await archival.find(parts.recall, question, chosen)
    items = [
        PassageSearchItem(
            passage=one.passage,
            score=one.hit.score,
            metadata={
                "search_mode": answer.mode,
                "vector_rank": one.hit.vector_rank,
                "fts_rank": one.hit.word_rank,
                "matching_text": one.hit.text,
            },
        )
        for one in answer.found
    ]
    return _told(items, answer)


def timezone_of(connection: Connection, agent_id: str) -> ZoneInfo:
    """The agent's timezone. Raises letta.errors.NotFound."""
    return ZoneInfo(agents.timezone(connection, agent_id))


def _scope(connection: Connection, body: PassageSearch) -> tuple[ZoneInfo, list[str] | None]:
    """Whose days count, and which archives are searched."""
    zone = ZoneInfo("UTC") if body.agent_id is None else timezone_of(connection, body.agent_id)
    if body.archive_id is not None:
        archives.get(connection, body.archive_id)
    if body.agent_id is None:
        return zone, None if body.archive_id is None else [body.archive_id]
    mine = archives.ids_of(connection, body.agent_id)
    return zone, [one for one in mine if body.archive_id in (None, one)]


def _page(connection: Connection, agent_id: str, search: str | None, paging: dict[str, Any]) -> list[Passage]:
    agents.require(connection, agent_id)
    return passages.agent_page(connection, agent_id, search=search, **paging)


def _forget(connection: Connection, agent_id: str, passage_id: str) -> None:
    agents.require(connection, agent_id)
    archival.forget(connection, agent_id, passage_id)


def _clean(text: str) -> str:
    return text.replace("\x00", "")


def _told(value: Any, answer: Answer) -> Response:
    response = reply(value)
    response.headers[HOW] = answer.mode
    return response
