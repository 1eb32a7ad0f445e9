"""Blocks as rows: what is found, and who may have which."""

from typing import Any

import pytest
from sqlalchemy import Connection
from tests.store.seeds import a_block, an_agent

from letta.errors import Conflict, NotFound
from letta.schemas.blocks import Block
from letta.schemas.identities import CreateIdentity
from letta.store import agents, blocks, identities
from letta.store.access import Database
from letta.store.block_filter import BlockFilter


def named(connection: Connection, wanted: BlockFilter) -> list[str | None]:
    return [block.label for block in blocks.list_page(connection, wanted, order="asc")]


def a_library(connection: Connection) -> None:
    """Four blocks: one shared by two agents, one of one agent with an identity, a template, and a hidden one."""
    first, second = an_agent(connection), an_agent(connection)
    shared = a_block(connection, "shared", "Common ground, 100%", tags=["a", "b"], description="For all")
    owned = a_block(connection, "owned", "Private", tags=["b"], project_id="p1")
    a_block(connection, "template", "Blank", is_template=True, template_name="starter", tags=["a"])
    a_block(connection, "hidden", "Secret", hidden=True, tags=["a", "b"])
    for agent_id, block in ((first, shared), (second, shared), (first, owned)):
        blocks.attach(connection, agent_id, block.id)
    identities.create(
        connection,
        CreateIdentity(identifier_key="user-7", name="Ada", identity_type="user", block_ids=[owned.id]),
    )


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, ["shared", "owned", "template"]),
        ({"show_hidden": True}, ["shared", "owned", "template", "hidden"]),
        ({"label": "owned"}, ["owned"]),
        ({"name": "starter"}, ["template"]),
        ({"templates_only": True}, ["template"]),
        ({"tags": ["a"]}, ["shared", "template"]),
        ({"tags": ["a", "b"]}, ["shared", "owned", "template"]),
        ({"tags": ["a", "b"], "match_all_tags": True}, ["shared"]),
        ({"project_id": "p1"}, ["owned"]),
        ({"identifier_keys": ["user-7", "user-8"]}, ["owned"]),
        ({"identifier_keys": ["user-8"]}, []),
        ({"identity_id": "identity-0"}, []),
        ({"label_search": "OWN"}, ["owned"]),
        ({"description_search": "all"}, ["shared"]),
        ({"value_search": "100%"}, ["shared"]),
        ({"agents_more_than": 0}, ["shared", "owned"]),
        ({"agents_fewer_than": 2}, ["owned", "template"]),
        ({"agents_exactly": [0, 2]}, ["shared", "template"]),
    ],
)
async def test_a_filter_finds_what_it_says(database: Database, wanted: dict[str, Any], expected: list[str]) -> None:
    await database.write(a_library)
    assert await database.read(named, BlockFilter(**wanted)) == expected
    assert await database.read(blocks.count, BlockFilter(**wanted)) == len(expected)


async def test_a_created_block_is_kept_as_it_was_given(database: Database) -> None:
    def story(connection: Connection) -> tuple[Block, Block]:
        made = a_block(
            connection, "human", "Name: Bob", limit=50, description="Who", read_only=True, tags=["z", "a", "z"],
            metadata={"n": [1]}, template_name="starter",
        )  # fmt: skip
        return made, blocks.get(connection, made.id)

    made, read = await database.write(story)
    assert read == made
    assert made.model_dump(exclude={"id"}) == {
        "label": "human", "value": "Name: Bob", "limit": 50, "description": "Who", "read_only": True,
        "tags": ["a", "z"], "metadata": {"n": [1]},
        "template_name": "starter", "name": "starter", "hidden": False, "is_template": False,
        "template_id": None, "base_template_id": None, "deployment_id": None, "entity_id": None,
        "preserve_on_migration": False, "project_id": None, "created_by_id": None, "last_updated_by_id": None,
    }  # fmt: skip


async def test_attaching_twice_is_once_and_a_second_block_of_the_label_is_a_conflict(database: Database) -> None:
    def seed(connection: Connection) -> tuple[str, str, str]:
        agent_id, first, second = an_agent(connection), a_block(connection), a_block(connection)
        blocks.attach(connection, agent_id, first.id)
        blocks.attach(connection, agent_id, first.id)
        return agent_id, first.id, second.id

    agent_id, first, second = await database.write(seed)
    with pytest.raises(Conflict, match="has a block labelled 'human' already"):
        await database.write(blocks.attach, agent_id, second)
    assert [block.id for block in await database.read(blocks.of_agent, agent_id)] == [first]


async def test_renaming_a_block_to_the_label_of_its_agents_other_block_is_a_conflict(database: Database) -> None:
    def seed(connection: Connection) -> str:
        agent_id, human, persona = an_agent(connection), a_block(connection), a_block(connection, "persona")
        blocks.attach(connection, agent_id, human.id)
        blocks.attach(connection, agent_id, persona.id)
        return persona.id

    block_id = await database.write(seed)
    with pytest.raises(Conflict, match="another one labelled 'human'"):
        await database.write(blocks.change, block_id, {"label": "human"})
    assert (await database.read(blocks.get, block_id)).label == "persona"


async def test_every_write_of_a_shared_block_raises_the_version_of_all_its_agents(database: Database) -> None:
    def story(connection: Connection) -> list[int]:
        block, owners = a_block(connection), [an_agent(connection), an_agent(connection), an_agent(connection)]
        for agent_id in owners[:2]:
            blocks.attach(connection, agent_id, block.id)
        before = [agents.snapshot(connection, agent_id, agent_id).version for agent_id in owners]
        blocks.change(connection, block.id, {"value": "new"})
        after = [agents.snapshot(connection, agent_id, agent_id).version for agent_id in owners]
        return [new - old for new, old in zip(after, before, strict=True)]

    assert await database.write(story) == [1, 1, 0]


async def test_what_does_not_exist_is_not_found(database: Database) -> None:
    agent_id, block = await database.write(lambda connection: (an_agent(connection), a_block(connection)))
    for call in (
        lambda connection: blocks.get(connection, "block-0"),
        lambda connection: blocks.change(connection, "block-0", {"value": ""}),
        lambda connection: blocks.remove(connection, "block-0"),
        lambda connection: blocks.attach(connection, agent_id, "block-0"),
        lambda connection: blocks.attach(connection, "agent-0", block.id),
        lambda connection: blocks.detach(connection, agent_id, block.id),
    ):
        with pytest.raises(NotFound):
            await database.write(call)
