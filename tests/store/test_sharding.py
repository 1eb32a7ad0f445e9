"""What docs/decisions/0015-sharding.md says of the tables is so, and was tried: an agent moves to another database.

The move is made here by hand and is no feature of the server: it shows that everything an agent needs is found by its
id, and that the same rows mean the same on either kind of database.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Table, UniqueConstraint, insert, select
from tests.serving import Served, serve
from tests.store.conftest import _empty

from letta.store.access import Database
from letta.store.database import open_database
from letta.store.tables import (
    agent_blocks,
    agent_tools,
    agents,
    block_tags,
    block_versions,
    blocks,
    metadata,
    pieces,
    tools,
    vectors,
)

OWN_ID = {"agents"}
"""Found by the agent's id, in another column."""

BY_OWNER = {
    "blocks", "block_tags", "block_versions", "archives", "passages", "passage_tags", "pieces", "vectors",
    "vector_owners",
}  # fmt: skip
"""Of a block or an archive, which several agents may share: they lie where those agents do."""

OF_SEVERAL = {"agent_groups", "group_blocks", "group_lines", "batches"}
"""Of several agents by their nature."""

EVERYWHERE = {"tools", "mcp_servers", "mcp_tools", "mcp_tokens", "providers", "identities", "block_identities"}
"""Few rows that all agents use: the same in every database."""

UNIQUE_IDS = {"id", "agent_id", "conversation_id", "run_id", "step_id", "schedule_id"}
"""Columns whose values are unique among all databases, because they are made of random UUIDs."""


def _keys(table: Table) -> Iterable[set[str]]:
    yield {column.name for column in table.primary_key}
    for index in table.indexes:
        if index.unique:
            yield {column.name for column in index.columns}
    for constraint in table.constraints:
        if isinstance(constraint, UniqueConstraint):
            yield {column.name for column in constraint.columns}


def test_every_table_has_its_place() -> None:
    owned = {table.name for table in metadata.sorted_tables if "agent_id" in table.c}
    places = [owned, OWN_ID, BY_OWNER, OF_SEVERAL, EVERYWHERE]
    assert set().union(*places) == set(metadata.tables)
    assert sum(map(len, places)) == len(metadata.tables)


def test_no_key_of_an_agents_table_can_clash_with_another_database() -> None:
    clashing = [
        (table.name, sorted(key))
        for table in metadata.sorted_tables
        if "agent_id" in table.c
        for key in _keys(table)
        if not key & UNIQUE_IDS
    ]
    assert clashing == []


def test_rows_of_an_agent_point_to_rows_of_the_same_agent_or_to_what_is_shared() -> None:
    pointing = {
        (table.name, key.referred_table.name)
        for table in metadata.sorted_tables
        if "agent_id" in table.c
        for key in table.foreign_key_constraints
        if "agent_id" not in key.referred_table.c and key.referred_table.name not in OWN_ID
    }
    assert {name for _, name in pointing} == {"archives", "blocks", "tools", "identities", "agent_groups"}


Rows = dict[str, list[dict[str, Any]]]


def rows_of(connection: Connection, agent_id: str) -> Rows:
    """Everything that is found by an agent's id, and its blocks; tools by their names."""

    def found(table: Table, *conditions: Any) -> list[dict[str, Any]]:
        return [dict(row._mapping) for row in connection.execute(select(table).where(*conditions))]

    mine = select(agent_blocks.c.block_id).where(agent_blocks.c.agent_id == agent_id)
    taken = {table.name: found(table, table.c.agent_id == agent_id) for table in _of_agents()}
    taken["agents"] = found(agents, agents.c.id == agent_id)
    taken["blocks"] = found(blocks, blocks.c.id.in_(mine))
    for table in (block_versions, block_tags):
        taken[table.name] = found(table, table.c.block_id.in_(mine))
    taken["pieces"] = found(pieces, pieces.c.owner == agent_id)
    names = {row.id: row.name for row in connection.execute(select(tools.c.id, tools.c.name))}
    taken["agent_tools"] = [{**row, "tool_id": names[row["tool_id"]]} for row in taken["agent_tools"]]
    return taken


def put(connection: Connection, taken: Rows) -> None:
    """The rows in another database, where tools of the same names have other ids, and pieces get new numbers."""
    ids = {row.name: row.id for row in connection.execute(select(tools.c.id, tools.c.name))}
    moved = {
        **taken,
        "agent_tools": [{**row, "tool_id": ids[row["tool_id"]]} for row in taken["agent_tools"]],
        "pieces": [{name: value for name, value in row.items() if name != "id"} for row in taken["pieces"]],
    }
    for table in metadata.sorted_tables:
        for row in moved.get(table.name, ()):
            connection.execute(insert(table), row)


def _of_agents() -> list[Table]:
    return [table for table in metadata.sorted_tables if "agent_id" in table.c]


@pytest.fixture(params=["sqlite", "postgresql"])
async def other(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'other.db'}"
    url: str = request.getfixturevalue("postgres_url")
    database = await open_database(url)
    await database.write(_empty)
    await database.close()
    return url


async def _everything(served: Served, agent_id: str) -> dict[str, Any]:
    """What can be asked about an agent."""
    path = f"/v1/agents/{agent_id}"
    asked = {
        "agent": path, "messages": f"{path}/messages", "runs": f"/v1/runs?agent_id={agent_id}",
        "steps": f"/v1/steps?agent_id={agent_id}", "schedules": f"{path}/schedule",
        "blocks": f"{path}/core-memory/blocks",
    }  # fmt: skip
    answers = {name: (await served.http.get(address)).json() for name, address in asked.items()}
    for tool in answers["agent"]["tools"]:
        tool.pop("id")
        tool.pop("created_at", None)
        tool.pop("updated_at", None)
    return answers


async def test_an_agent_moves_to_another_database_and_goes_on(tmp_path: Path, other: str) -> None:
    async with serve(tmp_path / "here", encryption_key="one for all") as here:
        agent = await here.agent(memory_blocks=[{"label": "human", "value": ""}])
        stays = await here.agent()
        for text in ("My name is Alice.", "hello"):
            await here.send(agent["id"], text)
        await here.send(stays["id"], "hello")
        await here.http.post(
            f"/v1/agents/{agent['id']}/schedule",
            json={"messages": [{"role": "user", "content": "hi"}],
                  "schedule": {"type": "recurring", "cron_expression": "0 8 * * *"}},
        )  # fmt: skip
        before = await _everything(here, agent["id"])
        taken = await here.parts.database.read(rows_of, agent["id"])
        await here.http.delete(f"/v1/agents/{agent['id']}")
        left = {table.name: await _count(here.parts.database, table, agent["id"]) for table in _of_agents()}
    async with serve(tmp_path / "there", database_url=other, encryption_key="one for all") as there:
        await there.parts.database.write(put, taken)
        after = await _everything(there, agent["id"])
        answer = await there.send(agent["id"], "What is my name?")
        found = await there.http.post("/v1/messages/search", json={"query": "Alice", "agent_id": agent["id"]})
    assert set(left.values()) == {0}
    assert after == before
    assert "Alice" in answer["messages"][-1]["content"]
    assert found.status_code == 200
    assert any("Alice" in str(one) for one in found.json())


async def _count(database: Database, table: Table, agent_id: str) -> int:
    return len(await database.read(lambda c: c.execute(select(table).where(table.c.agent_id == agent_id)).all()))


def test_what_is_copied_is_what_the_tables_say() -> None:
    copied = {table.name for table in (*_of_agents(), agents, blocks, block_versions, block_tags, pieces)}
    assert {agent_tools.name, "runs", "messages", "schedules", "conversations"} <= copied
    # Embeddings are made anew from the pieces; archives would be moved like blocks.
    assert vectors.name not in copied
