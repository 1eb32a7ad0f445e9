"""Registering, listing and invoking tools, against the wire server."""

import asyncio
from enum import Enum
from typing import Any, Literal

import pytest
from letta_client import NotFoundError
from tests.openharness_letta.wire_server import WireServer

from openharness.adapter import ToolDefinition
from openharness.types import ExecuteRequest, Tool
from openharness_letta import LettaAdapter
from openharness_letta.errors import ToolInvocationError
from openharness_letta.schema import definition_of

pytestmark = pytest.mark.anyio

ROLL = '''
def roll(sides: int) -> int:
    """Roll a die.

    Args:
        sides: How many sides it has.
    """
    return 4
'''
LOOSE = {"name": "loose", "description": "A tool", "input_schema": {}, "handler": lambda given: f"got {given}"}


async def names(adapter: LettaAdapter) -> list[str]:
    return [tool.name for tool in await adapter.list_tools()]


async def test_tools_are_listed_with_their_true_sources(server: WireServer, adapter: LettaAdapter) -> None:
    schema = {"name": "roll", "description": "", "parameters": {"type": "object", "properties": {"sides": {}}}}
    roll = server.add_tool("roll", "custom", json_schema=schema)
    by_id = server.add_tool("fetch", "external_mcp", metadata_={"mcp": {"server_id": "mcp_server-1"}})
    server.add_tool("run_code", "letta_builtin")
    by_tag = server.add_tool("search", "external_mcp", tags=["mcp:docs"])
    await adapter.register_tool(LOOSE)
    tools = {tool.name: tool for tool in await adapter.list_tools()}
    empty = {"type": "object", "properties": {}}
    assert {name: tool.source for name, tool in tools.items()} == {
        "conversation_search": "builtin",
        "memory_insert": "builtin",
        "memory_replace": "builtin",
        "roll": "custom",
        "fetch": "mcp",
        "search": "mcp",
        "run_code": "builtin",
        "loose": "custom",
    }
    assert tools["roll"] == Tool(
        id=roll["id"], name="roll", description="roll", source="custom", input_schema=schema["parameters"]
    )
    assert (tools["fetch"].id, tools["fetch"].mcp_server_id) == (by_id["id"], "mcp_server-1")
    assert (tools["search"].id, tools["search"].mcp_server_id) == (by_tag["id"], "docs")
    assert tools["loose"] == Tool(id="loose", name="loose", description="A tool", source="custom", input_schema=empty)


async def test_tools_may_be_registered_and_unregistered_without_await(adapter: LettaAdapter) -> None:
    given = adapter.register_tool(LOOSE)
    assert "loose" in await names(adapter)
    adapter.unregister_tool(given)
    assert "loose" not in await names(adapter)
    adapter.register_tool(LOOSE)
    adapter.unregister_tool("loose")
    assert "loose" not in await names(adapter)


async def test_source_code_is_put_on_the_server_and_given_to_the_agents(
    server: WireServer, adapter: LettaAdapter, agent_id: str
) -> None:
    await adapter.register_tool(ROLL)
    tool = server.named("roll")
    assert (tool["source_code"], tool["source_type"]) == (ROLL, "python")
    await adapter.execute(ExecuteRequest(message="hi", agent_id=agent_id))
    await adapter.execute(ExecuteRequest(message="hi", agent_id=agent_id))
    assert server.agents[agent_id].tools.count(tool["id"]) == 1
    await adapter.unregister_tool("roll")
    assert tool["id"] not in server.tools


async def test_source_code_registered_without_await_is_sent_with_the_next_call(
    server: WireServer, adapter: LettaAdapter, agent_id: str
) -> None:
    adapter.register_tool(
        {"name": "roll", "description": "Rolls", "input_schema": {"properties": {"sides": {}}}, "source_code": ROLL}
    )
    assert "roll" not in {tool["name"] for tool in server.tools.values()}
    await adapter.execute(ExecuteRequest(message="hi", agent_id=agent_id, tools=["roll"]))
    tool = server.named("roll")
    assert tool["id"] in server.agents[agent_id].tools
    assert tool["json_schema"] == {
        "name": "roll",
        "description": "Rolls",
        "parameters": {"type": "object", "properties": {"sides": {}}},
    }
    adapter.unregister_tool(tool["id"])
    assert "roll" not in await names(adapter)


async def test_changes_are_made_in_the_order_they_were_asked_for(server: WireServer, adapter: LettaAdapter) -> None:
    adapter.register_tool(ROLL)
    adapter.unregister_tool("roll")
    await asyncio.gather(adapter.list_tools(), adapter.list_tools())
    assert "roll" not in {tool["name"] for tool in server.tools.values()}


async def test_change_made_before_closing_is_not_lost(server: WireServer, adapter: LettaAdapter) -> None:
    adapter.register_tool(ROLL)
    await adapter.close()
    assert server.named("roll")


async def test_change_can_be_made_by_a_task(server: WireServer, adapter: LettaAdapter) -> None:
    await asyncio.gather(asyncio.create_task(adapter.register_tool(ROLL)))
    assert server.named("roll")


async def test_failed_change_is_told_with_the_next_call_and_only_once(adapter: LettaAdapter) -> None:
    adapter.unregister_tool("nothing")
    with pytest.raises(LookupError, match="Tool not found: nothing"):
        await adapter.list_tools()
    await adapter.list_tools()


async def test_builtin_tools_cannot_be_unregistered(server: WireServer, adapter: LettaAdapter) -> None:
    with pytest.raises(ValueError, match="not a custom tool"):
        await adapter.unregister_tool("memory_insert")
    with pytest.raises(LookupError, match="tool-0: not found"):
        await adapter.unregister_tool("tool-0")
    assert server.named("memory_insert")


@pytest.mark.parametrize(
    ("tool", "complaint"),
    [
        ({"description": "d"}, "needs a name"),
        ({"name": "t", "colour": "red"}, "unknown keys.*colour"),
        ({"name": "t", "handler": print, "source_code": ROLL}, "not both"),
        ({"name": "t", "source_code": ROLL}, "no function of that name, only roll"),
        ("x = 1", "no function"),
        ("def broken(:", "not valid Python"),
        (lambda *things: None, "cannot be passed by name"),
    ],
    ids=["nameless", "unknown key", "two implementations", "other name", "no function", "broken", "positional"],
)
async def test_registration_that_makes_no_tool_is_refused_at_once(
    adapter: LettaAdapter, tool: Any, complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        adapter.register_tool(tool)


async def test_definition_of_a_function_follows_its_signature_and_docstring() -> None:
    class Colour(Enum):
        RED = "red"

    def paint(
        text: str,
        times: int,
        share: float | None = None,
        bold: bool = False,
        tags: list[str] | None = None,
        options: dict[str, Any] | None = None,
        side: Literal["left", "right"] = "left",
        colour: Colour = Colour.RED,
        anything: Any = None,
        **rest: Any,
    ) -> None:
        """Paint a text
        on a wall.

        Takes a while.

        Args:
            text: What to paint.
            times (int): How often.
        """

    null = {"type": "null"}
    assert definition_of(paint) == ToolDefinition(
        "paint",
        "Paint a text on a wall.",
        {
            "type": "object",
            "properties": {
                "text": {"type": "string", "description": "What to paint."},
                "times": {"type": "integer", "description": "How often."},
                "share": {"anyOf": [{"type": "number"}, null]},
                "bold": {"type": "boolean"},
                "tags": {"anyOf": [{"type": "array", "items": {"type": "string"}}, null]},
                "options": {"anyOf": [{"type": "object"}, null]},
                "side": {"enum": ["left", "right"]},
                "colour": {"enum": ["red"]},
                "anything": {},
            },
            "required": ["text", "times"],
        },
    )


async def test_invoked_tool_of_this_process_runs_here(adapter: LettaAdapter) -> None:
    await adapter.register_tool(LOOSE)
    assert await adapter.invoke_tool("loose", {"x": 1}) == "got {'x': 1}"
    await adapter.register_tool(ToolDefinition("later", "d", {}))
    with pytest.raises(ToolInvocationError, match="without an implementation"):
        await adapter.invoke_tool("later", {})


async def test_invoked_tool_of_the_server_runs_for_an_agent(
    server: WireServer, adapter: LettaAdapter, agent_id: str
) -> None:
    roll = server.add_tool("roll", "custom")
    assert await adapter.invoke_tool("memory_insert", {"n": 1}, agent_id=agent_id) == 'memory_insert ran with {"n": 1}'
    with pytest.raises(NotFoundError, match="roll of agent"):
        await adapter.invoke_tool("roll", {}, agent_id=agent_id)
    assert await adapter.invoke_tool(roll["id"], {}) == "roll ran with {}"
    with pytest.raises(ToolInvocationError, match="roll failed: it failed"):
        await adapter.invoke_tool("roll", {"fail": True})
    with pytest.raises(LookupError, match="Tool not found: nothing"):
        await adapter.invoke_tool("nothing", {})


async def test_invoked_tool_of_an_mcp_server_runs_there(server: WireServer, adapter: LettaAdapter) -> None:
    server.add_tool("fetch", "external_mcp", metadata_={"mcp": {"server_id": "mcp_server-1"}})
    assert await adapter.invoke_tool("fetch", {}) == "fetch ran at mcp_server-1"
    assert server.agents == {}
