"""Tools as rows, and finding them by words."""

from typing import Any

import pytest
from sqlalchemy import Connection
from tests.store.seeds import an_agent

from letta.errors import Conflict, NotFound
from letta.schemas.tools import Tool
from letta.store import agents, tool_search, tools
from letta.store.access import Database
from letta.store.tools import ToolFilter


def a_tool(connection: Connection, name: str, /, **values: Any) -> Tool:
    given = {"tool_type": "letta_core", "tags": [], "return_char_limit": 1000, **values}
    return tools.put(connection, {"name": name, **given})


def a_box(connection: Connection) -> None:
    a_tool(connection, "send_message", description="Speak to the user", tags=["letta_core"])
    a_tool(connection, "memory_insert", tool_type="letta_memory_core", description="Write memory", tags=["memory"])
    a_tool(connection, "roll_dice", tool_type="custom", description="Insert coins, roll", tags=["game"], project_id="p")


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, ["send_message", "memory_insert", "roll_dice"]),
        ({"name": "roll_dice"}, ["roll_dice"]),
        ({"name": "roll"}, []),
        ({"names": ["roll_dice", "send_message"]}, ["send_message", "roll_dice"]),
        ({"search": "MESS"}, ["send_message"]),
        ({"tool_types": ["custom", "letta_core"]}, ["send_message", "roll_dice"]),
        ({"exclude_tool_types": ["custom"]}, ["send_message", "memory_insert"]),
        ({"project_id": "p"}, ["roll_dice"]),
        ({"tool_ids": ["tool-0"]}, []),
    ],
)
async def test_a_filter_finds_what_it_says(database: Database, wanted: dict[str, Any], expected: list[str]) -> None:
    await database.write(a_box)
    found = await database.read(lambda connection: tools.list_page(connection, ToolFilter(**wanted), order="asc"))
    assert [tool.name for tool in found] == expected
    assert await database.read(tools.count, ToolFilter(**wanted)) == len(expected)


@pytest.mark.parametrize(
    ("query", "more", "expected"),
    [
        ("insert", {}, [("memory_insert", 1.0), ("roll_dice", 0.4)]),
        ("memory write", {}, [("memory_insert", 0.7)]),
        ("Game!", {}, [("roll_dice", 0.7)]),
        ("nothing like it", {}, []),
        ("insert", {"tool_types": ["custom"]}, [("roll_dice", 0.4)]),
        ("insert", {"tags": ["memory", "other"]}, [("memory_insert", 1.0)]),
        ("insert", {"limit": 1}, [("memory_insert", 1.0)]),
        ("", {}, [("roll_dice", 1.0), ("memory_insert", 1.0), ("send_message", 1.0)]),
    ],
)
async def test_a_search_ranks_names_over_tags_over_descriptions(
    database: Database, query: str, more: dict[str, Any], expected: list[tuple[str, float]]
) -> None:
    await database.write(a_box)
    options: dict[str, Any] = {"tool_types": (), "tags": (), "limit": 10, **more}
    found = await database.read(lambda connection: tool_search.search(connection, query, **options))
    assert [(result.tool.name, result.combined_score) for result in found] == expected
    ranks = [rank for rank, _ in enumerate(expected, start=1)] if query else [None] * len(expected)
    assert [result.fts_rank for result in found] == ranks


async def test_putting_a_known_name_changes_the_tool_in_place(database: Database) -> None:
    def story(connection: Connection) -> tuple[Tool, Tool]:
        return a_tool(connection, "roll", description="old"), a_tool(connection, "roll", description="new")

    old, new = await database.write(story)
    assert new == old.model_copy(update={"description": "new"})


async def test_renaming_a_tool_to_a_name_that_is_taken_is_a_conflict(database: Database) -> None:
    await database.write(a_box)
    tool_id = (await database.read(tools.ids_by_name, ["roll_dice"]))["roll_dice"]
    with pytest.raises(Conflict, match="another tool called 'send_message'"):
        await database.write(tools.change, tool_id, {"name": "send_message"})


async def test_a_change_and_a_removal_raise_the_version_of_the_agents_that_have_the_tool(database: Database) -> None:
    def story(connection: Connection) -> list[int]:
        agent_id, tool = an_agent(connection), a_tool(connection, "roll")
        tools.attach(connection, agent_id, tool.id)
        tools.attach(connection, agent_id, tool.id)
        seen = [agents.snapshot(connection, agent_id, agent_id).version]
        for step in (lambda: tools.change(connection, tool.id, {"description": "x"}),
                     lambda: tools.remove(connection, tool.id)):  # fmt: skip
            step()
            seen.append(agents.snapshot(connection, agent_id, agent_id).version)
        assert tools.of_agent(connection, agent_id) == []
        return [version - seen[0] for version in seen]

    assert await database.write(story) == [0, 1, 2]


async def test_what_does_not_exist_is_not_found(database: Database) -> None:
    agent_id = await database.write(an_agent)
    for call in (
        lambda connection: tools.get(connection, "tool-0"),
        lambda connection: tools.change(connection, "tool-0", {"description": "x"}),
        lambda connection: tools.remove(connection, "tool-0"),
        lambda connection: tools.attach(connection, agent_id, "tool-0"),
        lambda connection: tools.detach(connection, agent_id, "tool-0"),
    ):
        with pytest.raises(NotFound):
            await database.write(call)
