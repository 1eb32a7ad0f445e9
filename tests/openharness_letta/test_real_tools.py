"""Tools, approvals and the archive through the adapter, against a real server process with the scripted model."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from letta_client import NotFoundError
from tests.openharness_letta.letta_process import LettaProcess, letta_process
from tests.openharness_letta.test_client_tools import ADD, add
from tests.openharness_letta.test_execution import script, streamed
from tests.openharness_letta.test_tools import ROLL

from openharness.types import ErrorEvent, ExecuteRequest, ToolCall
from openharness_letta import LettaAdapter
from openharness_letta.errors import ToolInvocationError

pytestmark = pytest.mark.anyio

NOTE = {"call": "memory_insert", "args": {"label": "human", "new_string": "Likes tea."}}
FORGET = {"call": "memory_replace", "args": {"label": "human", "old_string": "x", "new_string": "y"}}


@pytest.fixture(scope="module")
def letta(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LettaProcess]:
    with letta_process(tmp_path_factory.mktemp("letta")) as process:
        yield process


@pytest.fixture
async def adapter(letta: LettaProcess) -> AsyncIterator[LettaAdapter]:
    async with LettaAdapter(base_url=letta.base_url) as made:
        yield made


@pytest.fixture
async def agent_id(letta: LettaProcess, adapter: LettaAdapter) -> AsyncIterator[str]:
    """An agent that may make several calls at once."""
    made = await adapter.create_agent({"name": "ann"})
    async with httpx.AsyncClient(base_url=letta.base_url) as http:
        (await http.patch(f"/v1/agents/{made}", json={"parallel_tool_calls": True})).raise_for_status()
    yield made
    await adapter.delete_agent(made)


async def needs_approval(letta: LettaProcess, agent_id: str, *names: str) -> None:
    async with httpx.AsyncClient(base_url=letta.base_url) as http:
        for name in names:
            path = f"/v1/agents/{agent_id}/tools/approval/{name}"
            (await http.patch(path, json={"requires_approval": True})).raise_for_status()


async def test_agent_calls_a_function_of_this_process(adapter: LettaAdapter, agent_id: str) -> None:
    await adapter.register_tool(add)
    events = await streamed(adapter, script(["Let me see.", ADD], "It is 5."), agent_id)
    kinds = [event.type for event in events]
    assert [kind for kind in kinds if kind != "text"] == ["tool_call_start", "tool_result", "tool_call_end", "done"]
    [result] = [event for event in events if event.type == "tool_result"]
    assert (result.success, result.output) == (True, "5")
    done = await adapter.execute(ExecuteRequest(message=script([ADD, ADD], "Twice."), agent_id=agent_id))
    assert [call["output"] for call in done.tool_calls] == ["5", "5"]
    assert (done.output, done.metadata["stop_reason"]) == ("Twice.", "end_turn")


async def test_calls_are_approved_and_denied_on_the_way(
    letta: LettaProcess, adapter: LettaAdapter, agent_id: str
) -> None:
    await needs_approval(letta, agent_id, "memory_insert", "memory_replace")
    await adapter.register_tool(add)

    async def approve(call: ToolCall) -> bool | str:
        return True if call.name == "memory_insert" else "not today"

    request = ExecuteRequest(message=script([NOTE, FORGET, ADD], "ok"), agent_id=agent_id)
    result = await adapter.execute(request, approve=approve)
    told = {call["name"]: call.get("output", call.get("error")) for call in result.tool_calls}
    assert (told["add"], "was edited" in str(told["memory_insert"])) == ("5", True)
    assert "not today" in str(told["memory_replace"])
    assert (result.output, result.metadata["stop_reason"]) == ("ok", "end_turn")
    block = await adapter.memory.get_block(agent_id, "human")
    assert block is not None
    assert "Likes tea." in block.value


async def test_waiting_call_is_decided_later(letta: LettaProcess, adapter: LettaAdapter, agent_id: str) -> None:
    await needs_approval(letta, agent_id, "memory_insert")
    last = (await streamed(adapter, script(NOTE, "ok"), agent_id))[-1]
    assert isinstance(last, ErrorEvent)
    assert (last.code, last.recoverable) == ("approval_required", True)
    async with httpx.AsyncClient(base_url=letta.base_url) as http:
        await http.post(f"/v1/agents/{agent_id}/messages/cancel", json={})
    paused = await adapter.execute(ExecuteRequest(message=script(NOTE, "ok"), agent_id=agent_id))
    [waiting] = paused.metadata["pending_approvals"]
    assert (waiting["name"], paused.metadata["stop_reason"]) == ("memory_insert", "requires_approval")
    result = await adapter.answer_approvals(agent_id, {waiting["id"]: True})
    assert (result.output, result.metadata["stop_reason"]) == ("ok", "end_turn")
    with pytest.raises(ValueError, match="waits for nothing"):
        await adapter.answer_approvals(agent_id, {waiting["id"]: True})


async def test_source_code_becomes_a_tool_of_the_server_that_agents_call(adapter: LettaAdapter, agent_id: str) -> None:
    await adapter.register_tool(ROLL)
    [tool] = [tool for tool in await adapter.list_tools() if tool.name == "roll"]
    assert (tool.source, tool.input_schema["properties"]["sides"]["description"]) == (
        "custom",
        "How many sides it has.",
    )
    call: dict[str, Any] = {"call": "roll", "args": {"sides": 6}}
    result = await adapter.execute(ExecuteRequest(message=script(call, "Four."), agent_id=agent_id))
    assert [{**made, "id": ""} for made in result.tool_calls] == [
        {"id": "", "name": "roll", "input": {"sides": 6}, "output": "4"}
    ]
    await adapter.unregister_tool("roll")
    assert "roll" not in [tool.name for tool in await adapter.list_tools()]


async def test_tools_of_the_server_are_invoked_without_a_conversation(adapter: LettaAdapter, agent_id: str) -> None:
    await adapter.register_tool({"name": "roll", "source_code": ROLL})
    try:
        given = {"label": "human", "new_string": "Tall."}
        assert "was edited" in str(await adapter.invoke_tool("memory_insert", given, agent_id=agent_id))
        assert "No messages found" in str(
            await adapter.invoke_tool("conversation_search", {"query": "nothing"}, agent_id=agent_id)
        )
        assert await adapter.invoke_tool("roll", {"sides": 6}) == 4
        with pytest.raises(NotFoundError):
            await adapter.invoke_tool("roll", {"sides": 6}, agent_id=agent_id)
        with pytest.raises(ToolInvocationError, match="called wrongly"):
            await adapter.invoke_tool("roll", {"corners": 6})
    finally:
        await adapter.unregister_tool("roll")


async def test_archive_is_written_and_searched(adapter: LettaAdapter, agent_id: str) -> None:
    added = await adapter.add_to_archive(agent_id, "Ann likes tea", tags=["drinks"])
    await adapter.add_to_archive(agent_id, "The train leaves at nine")
    [first, *_] = await adapter.search_archive(agent_id, query="tea", limit=1)
    assert (first.id, first.content, first.metadata["tags"]) == (added.id, "Ann likes tea", ["drinks"])
    assert [entry.content for entry in await adapter.search_archive(agent_id, "tea", tags=["drinks"])] == [
        "Ann likes tea"
    ]
    assert await adapter.search_archive(agent_id, "tea", tags=["trains"]) == []
