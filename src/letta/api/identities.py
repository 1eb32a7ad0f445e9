"""Identities: `/v1/identities`."""

from typing import Annotated, Any

from fastapi import Body
from pydantic import BeforeValidator
from sqlalchemy import Connection

from letta.api import routes
from letta.api.agents import Included
from letta.api.context import IdentityId, Page, Paging, Parts, reply
from letta.schemas.agents import AgentState
from letta.schemas.blocks import Block
from letta.schemas.common import storable
from letta.schemas.identities import (
    CreateIdentity,
    Identity,
    IdentityProperty,
    IdentityType,
    UpdateIdentity,
    UpsertIdentity,
)
from letta.store import agents, blocks, identities
from letta.store.agents import AgentFilter
from letta.store.block_filter import BlockFilter
from letta.store.identities import IdentityFilter

router = routes.router(prefix="/v1/identities", tags=["identities"])

Properties = Annotated[list[IdentityProperty], BeforeValidator(storable), Body()]


@router.get("", response_model=list[Identity])
async def list_identities(
    parts: Parts,
    page: Paging,
    name: str | None = None,
    project_id: str | None = None,
    identifier_key: str | None = None,
    identity_type: IdentityType | None = None,
) -> Any:
    wanted = IdentityFilter(name, project_id, identifier_key, identity_type)
    return reply(await parts.database.read(identities.list_page, wanted, **page.arguments()))


@router.post("", response_model=Identity)
async def create_identity(parts: Parts, body: CreateIdentity) -> Any:
    return reply(await parts.database.write(identities.create, body))


@router.put("", response_model=Identity)
async def upsert_identity(parts: Parts, body: UpsertIdentity) -> Any:
    """Make the identity with this `identifier_key`, or bring it to this form; lists that are given replace."""
    return reply(await parts.database.write(identities.upsert, body))


@router.get("/count", response_model=int)
async def count_identities(parts: Parts) -> Any:
    return reply(await parts.database.read(identities.count))


@router.get("/{identity_id}", response_model=Identity)
async def retrieve_identity(parts: Parts, identity_id: IdentityId) -> Any:
    return reply(await parts.database.read(identities.get, identity_id))


@router.patch("/{identity_id}", response_model=Identity)
async def update_identity(parts: Parts, identity_id: IdentityId, body: UpdateIdentity) -> Any:
    """Change an identity. Properties are merged by their keys; agents and blocks are added to those there are."""
    return reply(await parts.database.write(identities.change, identity_id, body.changes()))


@router.put("/{identity_id}/properties", response_model=Identity)
async def replace_identity_properties(parts: Parts, identity_id: IdentityId, body: Properties) -> Any:
    """Make these the identity's properties."""
    return reply(await parts.database.write(identities.write_properties, identity_id, body))


@router.delete("/{identity_id}", response_model=None)
async def delete_identity(parts: Parts, identity_id: IdentityId) -> Any:
    await parts.database.write(identities.remove, identity_id)
    return reply(None)


@router.get("/{identity_id}/agents", response_model=list[AgentState])
async def list_agents_of_identity(parts: Parts, identity_id: IdentityId, include: Included, page: Paging) -> Any:
    return reply(await parts.database.read(_agents, identity_id, include, page))


@router.get("/{identity_id}/blocks", response_model=list[Block])
async def list_blocks_of_identity(parts: Parts, identity_id: IdentityId, page: Paging) -> Any:
    return reply(await parts.database.read(_blocks, identity_id, page))


def _agents(connection: Connection, identity_id: str, include: frozenset[str], page: Page) -> list[AgentState]:
    identities.get(connection, identity_id)
    wanted = AgentFilter(identity_id=identity_id, show_hidden=True)
    return agents.list_page(connection, wanted, include, **page.arguments())


def _blocks(connection: Connection, identity_id: str, page: Page) -> list[Block]:
    identities.get(connection, identity_id)
    return blocks.list_page(connection, BlockFilter(identity_id=identity_id, show_hidden=True), **page.arguments())
