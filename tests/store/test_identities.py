"""Identities as rows."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import Connection
from tests.store.seeds import a_block, an_agent

from letta.errors import Conflict, NotFound
from letta.schemas.identities import CreateIdentity, Identity, IdentityProperty, UpsertIdentity
from letta.store import agents, blocks, identities
from letta.store.access import Database
from letta.store.identities import IdentityFilter

EMAIL = IdentityProperty(key="email", value="ada@example.test", type="string")
AGE = IdentityProperty(key="age", value=36, type="number")
OLDER = IdentityProperty(key="age", value=37, type="number")


def asked(key: str = "user-7", **fields: Any) -> CreateIdentity:
    return CreateIdentity.model_validate({"identifier_key": key, "name": "Ada", "identity_type": "user", **fields})


def put(key: str = "user-7", **fields: Any) -> UpsertIdentity:
    return UpsertIdentity.model_validate({"identifier_key": key, "name": "Ada", "identity_type": "user", **fields})


def two_agents_and_a_block(connection: Connection) -> tuple[str, str, str]:
    return an_agent(connection), an_agent(connection), a_block(connection).id


async def test_a_new_identity_has_its_agents_blocks_and_properties(database: Database) -> None:
    first, second, block = await database.write(two_agents_and_a_block)
    request = asked(agent_ids=[second, first, first], block_ids=[block], properties=[EMAIL, AGE, OLDER], project_id="p")
    made = await database.write(identities.create, request)
    assert await database.read(identities.get, made.id) == made
    assert made == Identity.model_construct(
        id=made.id, identifier_key="user-7", name="Ada", identity_type="user", project_id="p",  # type: ignore[arg-type]
        agent_ids=[first, second], block_ids=[block], properties=[EMAIL, OLDER],
    )  # fmt: skip


async def test_a_key_is_taken_once(database: Database) -> None:
    await database.write(identities.create, asked())
    with pytest.raises(Conflict, match="identifier_key: there is an identity with the key 'user-7'"):
        await database.write(identities.create, asked())
    other = await database.write(identities.create, asked("user-8"))
    with pytest.raises(Conflict, match="'user-7'"):
        await database.write(identities.change, other.id, {"identifier_key": "user-7"})


async def test_of_identities_created_with_one_key_at_the_same_time_one_is_stored(database: Database) -> None:
    outcomes = await asyncio.gather(
        *(database.write(identities.create, asked()) for _ in range(5)), return_exceptions=True
    )
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Conflict"] * 4 + ["Identity"]
    assert await database.read(identities.count) == 1


async def test_an_identity_with_an_unknown_agent_is_not_stored_at_all(database: Database) -> None:
    agent_id, _, _ = await database.write(two_agents_and_a_block)
    with pytest.raises(NotFound, match="agent agent-0 not found"):
        await database.write(identities.create, asked(agent_ids=[agent_id, "agent-0"]))
    assert await database.read(identities.count) == 0


async def test_putting_a_new_key_creates_and_putting_it_again_replaces_what_is_given(database: Database) -> None:
    first, second, block = await database.write(two_agents_and_a_block)
    made = await database.write(
        identities.upsert, put(agent_ids=[first], block_ids=[block], properties=[EMAIL, AGE], project_id="p")
    )
    again = await database.write(
        identities.upsert, put(name="Ada L.", identity_type="org", agent_ids=[second], properties=[OLDER])
    )
    assert again == made.model_copy(
        update={"name": "Ada L.", "identity_type": "org", "agent_ids": [second], "properties": [OLDER]}
    )
    assert await database.read(identities.count) == 1


async def test_a_change_merges_properties_and_adds_agents(database: Database) -> None:
    first, second, _ = await database.write(two_agents_and_a_block)
    made = await database.write(identities.create, asked(agent_ids=[first], properties=[EMAIL, AGE]))
    changed = await database.write(
        identities.change,
        made.id,
        {"name": "Ada L.", "identifier_key": "user-9", "agent_ids": [first, second], "properties": [OLDER]},
    )
    assert changed == made.model_copy(
        update={
            "name": "Ada L.",
            "identifier_key": "user-9",
            "agent_ids": [first, second],
            "properties": [EMAIL, OLDER],
        }
    )


async def test_written_properties_replace_all(database: Database) -> None:
    made = await database.write(identities.create, asked(properties=[EMAIL, AGE]))
    assert (await database.write(identities.write_properties, made.id, [OLDER])).properties == [OLDER]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, ["b", "a"]),
        ({"name": "Bob"}, ["b"]),
        ({"project_id": "p"}, ["a"]),
        ({"identifier_key": "a"}, ["a"]),
        ({"identity_type": "org"}, ["b"]),
        ({"name": "Ada", "identity_type": "org"}, []),
    ],
)
async def test_filters_hold_together(database: Database, wanted: dict[str, Any], expected: list[str]) -> None:
    await database.write(identities.create, asked("a", project_id="p"))
    await database.write(identities.create, asked("b", name="Bob", identity_type="org"))
    found = await database.read(identities.list_page, IdentityFilter(**wanted))
    assert [identity.identifier_key for identity in found] == expected


async def test_attaching_twice_is_once_and_detaching_needs_an_attachment(database: Database) -> None:
    agent_id, _, block_id = await database.write(two_agents_and_a_block)
    made = await database.write(identities.create, asked())
    for attach, detach, item, field in (
        (identities.attach, identities.detach, agent_id, "agent_ids"),
        (identities.attach_block, identities.detach_block, block_id, "block_ids"),
    ):
        await database.write(attach, item, made.id)
        await database.write(attach, item, made.id)
        assert getattr(await database.read(identities.get, made.id), field) == [item]
        await database.write(detach, item, made.id)
        assert await database.read(identities.get, made.id) == made
        with pytest.raises(NotFound, match="is not attached to"):
            await database.write(detach, item, made.id)


async def test_attaching_at_the_same_time_attaches_once(database: Database) -> None:
    agent_id, _, _ = await database.write(two_agents_and_a_block)
    made = await database.write(identities.create, asked())
    await asyncio.gather(*(database.write(identities.attach, agent_id, made.id) for _ in range(5)))
    assert (await database.read(identities.get, made.id)).agent_ids == [agent_id]


async def test_an_agent_shows_its_identities(database: Database) -> None:
    first, second, _ = await database.write(two_agents_and_a_block)
    made = await database.write(identities.create, asked(agent_ids=[first], properties=[AGE]))
    shown = made.model_copy(update={"agent_ids": [], "block_ids": []})
    assert await database.read(identities.of_agents, [first, second]) == {first: [shown]}


async def test_deleting_an_identity_keeps_its_agents_and_blocks(database: Database) -> None:
    agent_id, _, block_id = await database.write(two_agents_and_a_block)
    made = await database.write(identities.create, asked(agent_ids=[agent_id], block_ids=[block_id]))
    await database.write(identities.remove, made.id)
    assert (await database.read(agents.get, agent_id)).identity_ids == []
    assert (await database.read(blocks.get, block_id)).id == block_id
    assert await database.read(identities.count) == 0


async def test_what_does_not_exist_is_not_found(database: Database) -> None:
    agent_id, _, _ = await database.write(two_agents_and_a_block)
    made = await database.write(identities.create, asked())
    for call in (
        lambda connection: identities.get(connection, "identity-0"),
        lambda connection: identities.change(connection, "identity-0", {"name": "x"}),
        lambda connection: identities.change(connection, made.id, {"block_ids": ["block-0"]}),
        lambda connection: identities.write_properties(connection, "identity-0", []),
        lambda connection: identities.remove(connection, "identity-0"),
        lambda connection: identities.attach(connection, agent_id, "identity-0"),
        lambda connection: identities.attach(connection, "agent-0", made.id),
    ):
        with pytest.raises(NotFound):
            await database.write(call)
