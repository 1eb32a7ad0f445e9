"""Archives and what is in them: `/v1/archives`, and who reads them."""

from typing import Annotated

from fastapi import Depends, Query, Response
from sqlalchemy import Connection

from letta.api import routes
from letta.api.agents import Included
from letta.api.context import AgentId, ArchiveId, Page, Paging, Parts, PassageId, Server, paging, reply
from letta.errors import InvalidRequest
from letta.models.embeddings import config_of
from letta.schemas.agents import AgentState
from letta.schemas.archives import Archive, CreateArchive, EmbeddingProgress, UpdateArchive
from letta.schemas.common import Prefix, id_pattern
from letta.schemas.passages import CreatePassage, CreatePassages, Passage
from letta.store import agents, archives, passages, pieces
from letta.store.agents import AgentFilter

router = routes.router(prefix="/v1", tags=["archives"])

Archives = Annotated[Page, Depends(paging())]


@router.post("/archives", response_model=Archive)
async def create_archive(parts: Parts, body: CreateArchive) -> Response:
    """Make an archive. Without an embedding model it gets the server's default, if there is one."""
    handle = body.embedding_handle or parts.default_embedding
    config = body.embedding_config or config_of(handle)
    values = {
        "name": body.name,
        "description": body.description,
        "embedding": handle,
        "embedding_config": None if config is None else config.model_dump(mode="json", exclude_none=True),
    }
    return reply(await parts.database.write(archives.create, values))


@router.get("/archives", response_model=list[Archive])
async def list_archives(
    parts: Parts,
    page: Archives,
    agent_id: Annotated[str | None, Query(pattern=id_pattern(Prefix.AGENT))] = None,
    name: str | None = None,
) -> Response:
    return reply(await parts.database.read(archives.list_page, agent_id=agent_id, name=name, **page.arguments()))


@router.get("/archives/{archive_id}", response_model=Archive)
async def retrieve_archive(parts: Parts, archive_id: ArchiveId) -> Response:
    return reply(await parts.database.read(archives.get, archive_id))


@router.patch("/archives/{archive_id}", response_model=Archive)
async def update_archive(parts: Parts, archive_id: ArchiveId, body: UpdateArchive) -> Response:
    """Change an archive. With another embedding model everything in it is embedded again, in the background."""
    changes = body.changes()
    if "embedding" in changes:
        config = config_of(changes["embedding"])
        changes["embedding_config"] = None if config is None else config.model_dump(mode="json", exclude_none=True)
    return reply(await parts.database.write(archives.change, archive_id, changes))


@router.delete("/archives/{archive_id}", status_code=204, response_model=None)
async def delete_archive(parts: Parts, archive_id: ArchiveId) -> Response:
    """Delete an archive with everything in it, for all agents that read it."""
    await parts.database.write(archives.remove, archive_id)
    return Response(status_code=204)


@router.get("/archives/{archive_id}/agents", response_model=list[AgentState])
async def list_agents_of_archive(parts: Parts, archive_id: ArchiveId, include: Included, page: Paging) -> Response:
    """The agents that read the archive."""
    return reply(await parts.database.read(_agents, archive_id, include, page))


@router.get("/archives/{archive_id}/embedding", response_model=EmbeddingProgress)
async def retrieve_archive_embedding(parts: Parts, archive_id: ArchiveId) -> Response:
    """How far the archive is embedded by its model."""
    handle = await parts.database.read(archives.embedding_of, archive_id)
    return reply(await _progress(parts, archive_id, handle))


@router.get("/agents/{agent_id}/embedding", response_model=EmbeddingProgress)
async def retrieve_agent_embedding(parts: Parts, agent_id: AgentId) -> Response:
    """How far the messages of an agent are embedded by its model."""
    state = await parts.database.read(agents.get, agent_id, ())
    return reply(await _progress(parts, agent_id, state.embedding))


# -- what is in them ---------------------------------------------------------------------------------------------------


@router.post("/archives/{archive_id}/passages", response_model=Passage)
async def create_archive_passage(parts: Parts, archive_id: ArchiveId, body: CreatePassage) -> Response:
    """Keep a text. It is found by its words at once, by its meaning a moment later."""
    [made] = await parts.database.write(passages.add, archive_id, [body])
    return reply(made)


@router.post("/archives/{archive_id}/passages/batch", response_model=list[Passage])
async def create_archive_passages(parts: Parts, archive_id: ArchiveId, body: CreatePassages) -> Response:
    """Keep many texts, all or none."""
    return reply(await parts.database.write(passages.add, archive_id, body.passages))


@router.delete("/archives/{archive_id}/passages/{passage_id}", status_code=204, response_model=None)
async def delete_archive_passage(parts: Parts, archive_id: ArchiveId, passage_id: PassageId) -> Response:
    await parts.database.write(passages.remove, passage_id, [archive_id])
    return Response(status_code=204)


# -- whose they are ----------------------------------------------------------------------------------------------------


@router.patch("/agents/{agent_id}/archives/attach/{archive_id}", response_model=None)
async def attach_archive(parts: Parts, agent_id: AgentId, archive_id: str) -> Response:
    """Let the agent read and write the archive; once is enough."""
    await parts.database.write(archives.attach, agent_id, _checked(archive_id))
    return reply(None)


@router.patch("/agents/{agent_id}/archives/detach/{archive_id}", response_model=None)
async def detach_archive(parts: Parts, agent_id: AgentId, archive_id: str) -> Response:
    await parts.database.write(archives.detach, agent_id, _checked(archive_id))
    return reply(None)


def _checked(archive_id: str) -> str:
    if not archive_id.startswith(f"{Prefix.ARCHIVE}-") or len(archive_id) > 60:
        raise InvalidRequest(f"archive_id {archive_id[:80]!r} is not the id of an archive: `archive-` and a UUID")
    return archive_id


def _agents(connection: Connection, archive_id: str, include: frozenset[str], page: Page) -> list[AgentState]:
    archives.get(connection, archive_id)
    wanted = AgentFilter(archive_id=archive_id, show_hidden=True)
    return agents.list_page(connection, wanted, include, **page.arguments())


async def _progress(parts: Server, owner: str, handle: str | None) -> EmbeddingProgress:
    found = await parts.database.read(pieces.progress, owner)
    waiting = found.waiting if handle is not None else 0
    return EmbeddingProgress(
        model=handle,
        pieces=found.pieces,
        embedded=found.pieces - found.waiting - found.failed if handle is not None else 0,
        waiting=waiting,
        failed=found.failed,
        error=(parts.indexer.failure(handle) if handle is not None and waiting else None) or found.failure,
    )
