"""The adapter against a real server process with the scripted model."""

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import httpx
import pytest
from tests.openharness_letta.letta_process import LettaProcess, letta_process
from tests.openharness_letta.test_execution import script

from openharness.conformance import CHECKS, Check, Subject, name_of
from openharness.types import ErrorEvent, ExecuteRequest, TextEvent
from openharness_letta import LettaAdapter
from openharness_letta.types import MemoryBlock

pytestmark = pytest.mark.anyio

# The lines every user of the public adapter starts from, unchanged but for what is collected at the end of each.
TOUR = """
from openharness_letta import LettaAdapter
from openharness_letta.types import LettaAgentConfig, MemoryBlock
from openharness.types import ExecuteRequest
adapter = LettaAdapter(base_url="http://localhost:8283")
agent_id = await adapter.create_agent(LettaAgentConfig(name="my-assistant", model="openai/gpt-4o-mini",
    memory_blocks=[MemoryBlock(label="human", value="Name: Alice"), MemoryBlock(label="persona", value="I am a helpful assistant.")]))
result = await adapter.execute(ExecuteRequest(message="Hello!", agent_id=agent_id)); print(result.output)
blocks = await adapter.memory.get_blocks(agent_id)
await adapter.memory.update_block(agent_id, "human", "Name: Alice\\nPreferences: Concise responses")
await adapter.memory.add_block(agent_id, MemoryBlock(label="project", value="a universal API for AI harnesses"))
events = []
async for event in adapter.execute_stream(ExecuteRequest(message="Explain recursion step by step", agent_id=agent_id), include_thinking=True):
    events.append(event)
agent = await adapter.get_agent(agent_id); told = agent["name"], agent["model"]
listed = [(a["id"], a["name"]) for a in await adapter.list_agents()]; tools = await adapter.list_tools()
changed = await adapter.memory.get_blocks(agent_id); await adapter.delete_agent(agent_id)
"""  # noqa: E501 - kept as published

CALL = {"call": "memory_insert", "args": {"label": "human", "new_string": "Likes tea."}}
SEARCH = {"call": "conversation_search", "args": {"query": "tea"}}


@pytest.fixture(scope="module")
def letta(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LettaProcess]:
    with letta_process(tmp_path_factory.mktemp("letta")) as process:
        yield process


async def run(source: str) -> dict[str, Any]:
    """Run code with `await` at its top level; answers its names."""
    code = compile(source, "tour", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    assert isinstance(code, CodeType)
    names: dict[str, Any] = {}
    running = FunctionType(code, names)()
    assert inspect.isawaitable(running)
    await running
    return names


async def test_every_line_of_the_published_tour_works(letta: LettaProcess, capsys: pytest.CaptureFixture[str]) -> None:
    names = await run(TOUR.replace("http://localhost:8283", letta.base_url))
    adapter: LettaAdapter = names["adapter"]
    try:
        assert capsys.readouterr().out.strip() == names["result"].output.strip() != ""
        assert names["blocks"] == [
            MemoryBlock("human", "Name: Alice", 5000),
            MemoryBlock("persona", "I am a helpful assistant.", 5000),
        ]
        assert names["changed"] == [
            MemoryBlock("human", "Name: Alice\nPreferences: Concise responses", 5000),
            MemoryBlock("persona", "I am a helpful assistant.", 5000),
            MemoryBlock("project", "a universal API for AI harnesses", 5000),
        ]
        *before, last = names["events"]
        assert {event.type for event in before} <= {"text", "thinking"}
        assert len([event for event in before if event.type == "text"]) > 5
        assert last.usage.total_tokens == last.usage.input_tokens + last.usage.output_tokens > 0
        assert names["told"] == ("my-assistant", "openai/gpt-4o-mini")
        assert (names["agent_id"], "my-assistant") in names["listed"]
        assert {tool.source for tool in names["tools"]} == {"builtin"}
        assert names["agent_id"] not in [agent["id"] for agent in await adapter.list_agents()]
    finally:
        await adapter.close()


@pytest.mark.parametrize("check", CHECKS, ids=name_of)
async def test_letta_adapter_conforms_on_a_real_server(letta: LettaProcess, check: Check) -> None:
    subject = Subject(
        make=lambda: LettaAdapter(base_url=letta.base_url),
        tool_message=script(["One.", CALL], "Two."),
        parallel_message=script([CALL, SEARCH], "Done."),
    )
    agents_before, blocks_before = await left_on(letta)
    await check(subject)
    agents, blocks = await left_on(letta)
    made = {name for agent, name in agents.items() if agent not in agents_before}
    assert made <= {"openharness-default-agent"}
    assert len(blocks - blocks_before) == 2 * len(made)


async def left_on(letta: LettaProcess) -> tuple[dict[str, str], set[str]]:
    """The names of the agents on a server by their id, and the ids of its blocks."""
    async with httpx.AsyncClient(base_url=letta.base_url) as client:
        agents = (await client.get("/v1/agents/", params={"limit": 1000})).json()
        blocks = (await client.get("/v1/blocks/", params={"limit": 1000})).json()
    return {agent["id"]: agent["name"] for agent in agents}, {block["id"] for block in blocks}


async def test_request_fields_and_updates_are_honoured(letta: LettaProcess) -> None:
    async with LettaAdapter(base_url=letta.base_url) as adapter:
        agent_id = await adapter.create_agent({"name": "ann", "system_prompt": "You are kind.", "metadata": {"a": 1}})
        told = await adapter.update_agent(agent_id, name="bob", tools=["memory_insert"])
        assert (told["name"], told["metadata"]) == ("bob", {"a": 1})
        request = ExecuteRequest(
            message=script(CALL, "ok"), agent_id=agent_id, system_prompt="Be brief.", model="openai/gpt-4o"
        )
        cut = await adapter.execute(request, max_steps=1)
        assert (cut.output, cut.metadata["stop_reason"]) == ("", "max_steps")
        block = await adapter.memory.get_block(agent_id, "human")
        assert block is not None
        assert "Likes tea." in block.value
        await adapter.delete_agent(agent_id)


async def test_model_that_fails_is_one_error_event(letta: LettaProcess) -> None:
    async with LettaAdapter(base_url=letta.base_url) as adapter:
        request = ExecuteRequest(message="!error rate_limit")
        events = [event async for event in adapter.execute_stream(request)]
    [error] = events
    assert isinstance(error, ErrorEvent)
    assert "llm_rate_limit" in error.message


async def test_server_killed_in_the_middle_gives_one_error_event(tmp_path: Path) -> None:
    with letta_process(tmp_path) as letta:
        async with LettaAdapter(base_url=letta.base_url) as adapter:
            request = ExecuteRequest(message=script(["Half of it. ", {"wait": 60}, "The rest."]))
            events = []
            async for event in adapter.execute_stream(request):
                events.append(event)
                if isinstance(event, TextEvent) and "it." in event.content:
                    letta.kill()
    assert [event.type for event in events].count("error") == 1
    assert isinstance(events[-1], ErrorEvent)
    assert "broke off" in events[-1].message
