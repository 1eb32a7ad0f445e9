"""Blocks: `/v1/blocks`, and the history of each."""

from typing import Annotated, Any

from fastapi import Depends, Query
from sqlalchemy import Connection

from letta.api import routes
from letta.api.agents import Included
from letta.api.context import BlockId, IdentityId, Page, Paging, Parts, paging, reply
from letta.schemas.agents import AgentState
from letta.schemas.blocks import Block, BlockDiff, BlockRevert, BlockVersion, CreateBlock, UpdateBlock
from letta.schemas.common import INT32_MAX
from letta.store import agents, block_history, blocks, identities
from letta.store.agents import AgentFilter
from letta.store.block_filter import BlockFilter

router = routes.router(prefix="/v1/blocks", tags=["blocks"])

Texts = Annotated[list[str] | None, Query()]
Blocks = Annotated[Page, Depends(paging(order="asc"))]
Count = Annotated[int, Query(ge=0, le=INT32_MAX)]
Version = Annotated[int, Query(ge=1, le=INT32_MAX)]


async def _filter(
    label: str | None = None,
    templates_only: bool = False,
    name: str | None = None,
    tags: Texts = None,
    match_all_tags: bool = False,
    identity_id: str | None = None,
    identifier_keys: Texts = None,
    project_id: str | None = None,
    label_search: str | None = None,
    description_search: str | None = None,
    value_search: str | None = None,
    connected_to_agents_count_gt: Count | None = None,
    connected_to_agents_count_lt: Count | None = None,
    connected_to_agents_count_eq: Annotated[list[Count] | None, Query()] = None,
    show_hidden_blocks: bool | None = None,
) -> BlockFilter:
    return BlockFilter(
        label=label,
        name=name,
        templates_only=True if templates_only else None,
        tags=tags or (),
        match_all_tags=match_all_tags,
        identity_id=identity_id,
        identifier_keys=identifier_keys or (),
        project_id=project_id,
        label_search=label_search,
        description_search=description_search,
        value_search=value_search,
        agents_more_than=connected_to_agents_count_gt,
        agents_fewer_than=connected_to_agents_count_lt,
        agents_exactly=connected_to_agents_count_eq or (),
        show_hidden=bool(show_hidden_blocks),
    )


Wanted = Annotated[BlockFilter, Depends(_filter)]


@router.post("", response_model=Block)
async def create_block(parts: Parts, body: CreateBlock) -> Any:
    return reply(await parts.database.write(blocks.create, body))


@router.get("", response_model=list[Block])
async def list_blocks(parts: Parts, wanted: Wanted, page: Blocks) -> Any:
    return reply(await parts.database.read(blocks.list_page, wanted, **page.arguments()))


@router.get("/count", response_model=int)
async def count_blocks(parts: Parts) -> Any:
    return await parts.database.read(blocks.count, BlockFilter(show_hidden=True))


@router.get("/{block_id}", response_model=Block)
async def retrieve_block(parts: Parts, block_id: BlockId) -> Any:
    return reply(await parts.database.read(blocks.get, block_id))


@router.patch("/{block_id}", response_model=Block)
async def update_block(parts: Parts, block_id: BlockId, body: UpdateBlock) -> Any:
    return reply(await parts.database.write(blocks.change, block_id, body.changes()))


@router.delete("/{block_id}", response_model=None)
async def delete_block(parts: Parts, block_id: BlockId) -> Any:
    await parts.database.write(blocks.remove, block_id)
    return reply(None)


@router.get("/{block_id}/versions", response_model=list[BlockVersion])
async def list_block_versions(
    parts: Parts,
    block_id: BlockId,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    before: Annotated[int | None, Query(ge=1, le=INT32_MAX, description="A version number")] = None,
) -> Any:
    """Every version, newest first."""
    return reply(await parts.database.read(block_history.versions, block_id, limit=limit, before=before))


@router.get("/{block_id}/diff", response_model=BlockDiff)
async def diff_block_versions(
    parts: Parts,
    block_id: BlockId,
    from_version: Version,
    to_version: Version,
) -> Any:
    """A unified diff of the values of two versions."""
    return reply(await parts.database.read(block_history.diff, block_id, from_version, to_version))


@router.post("/{block_id}/undo", response_model=Block)
async def undo_block(parts: Parts, block_id: BlockId) -> Any:
    """Go back to the text before the last edit; can be repeated."""
    return reply(await parts.database.write(block_history.undo, block_id))


@router.post("/{block_id}/redo", response_model=Block)
async def redo_block(parts: Parts, block_id: BlockId) -> Any:
    """Take the last undo back."""
    return reply(await parts.database.write(block_history.redo, block_id))


@router.post("/{block_id}/revert", response_model=Block)
async def revert_block(parts: Parts, block_id: BlockId, body: BlockRevert) -> Any:
    """Write the text of an older version again."""
    return reply(await parts.database.write(block_history.revert, block_id, body.version))


# -- whose it is -------------------------------------------------------------------------------------------------------


@router.get("/{block_id}/agents", response_model=list[AgentState])
async def list_agents_of_block(parts: Parts, block_id: BlockId, include: Included, page: Paging) -> Any:
    """The agents that have the block."""
    return reply(await parts.database.read(_agents, block_id, include, page))


@router.patch("/{block_id}/identities/attach/{identity_id}", response_model=Block)
async def attach_identity_to_block(parts: Parts, block_id: BlockId, identity_id: IdentityId) -> Any:
    """Let the block belong to an identity; once is enough."""
    await parts.database.write(identities.attach_block, block_id, identity_id)
    return reply(await parts.database.read(blocks.get, block_id))


@router.patch("/{block_id}/identities/detach/{identity_id}", response_model=Block)
async def detach_identity_from_block(parts: Parts, block_id: BlockId, identity_id: IdentityId) -> Any:
    await parts.database.write(identities.detach_block, block_id, identity_id)
    return reply(await parts.database.read(blocks.get, block_id))


def _agents(connection: Connection, block_id: str, include: frozenset[str], page: Page) -> list[AgentState]:
    blocks.get(connection, block_id)
    wanted = AgentFilter(block_id=block_id, show_hidden=True)
    return agents.list_page(connection, wanted, include, **page.arguments())
