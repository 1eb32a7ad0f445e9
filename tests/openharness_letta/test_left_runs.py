"""Runs that are left while a tool of this process is open: the agent must be free for the next message."""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from letta_client import ConflictError
from tests.openharness_letta.letta_process import LettaProcess, letta_process
from tests.openharness_letta.test_client_tools import ADD, add
from tests.openharness_letta.test_execution import script
from tests.openharness_letta.wire_server import WireServer

from openharness.adapter import AdapterExecutionResult
from openharness.types import ExecuteRequest
from openharness_letta import LettaAdapter
from openharness_letta.errors import RunFailed, ToolInvocationError
from openharness_letta.leaving import LEFT

pytestmark = pytest.mark.anyio

WAIT = {"call": "wait"}


@pytest.fixture(scope="module")
def letta(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LettaProcess]:
    with letta_process(tmp_path_factory.mktemp("letta")) as process:
        yield process


@pytest.fixture(params=["wire", "real"])
async def adapter(request: pytest.FixtureRequest) -> AsyncIterator[LettaAdapter]:
    url = request.getfixturevalue("server" if request.param == "wire" else "letta").base_url
    async with LettaAdapter(base_url=url) as made:
        yield made


async def begun_in_a_tool(
    adapter: LettaAdapter, agent_id: str, *steps: object, **options: Any
) -> asyncio.Task[AdapterExecutionResult]:
    """An `execute` whose tool `wait` is at it, without end."""
    begun = asyncio.Event()

    async def wait() -> None:
        begun.set()
        await asyncio.Event().wait()

    await adapter.register_tool(wait)
    request = ExecuteRequest(message=script(*steps), agent_id=agent_id)
    running = asyncio.create_task(adapter.execute(request, **options))
    await asyncio.wait_for(begun.wait(), 10)
    return running


async def said(adapter: LettaAdapter, agent_id: str) -> str:
    return (await adapter.execute(ExecuteRequest(message=script("Here I am."), agent_id=agent_id))).output


async def test_cancelled_execute_leaves_the_agent_free(adapter: LettaAdapter, agent_id: str) -> None:
    running = await begun_in_a_tool(adapter, agent_id, WAIT, "never said")
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await said(adapter, agent_id) == "Here I am."


async def test_stream_left_at_a_call_leaves_the_agent_free(adapter: LettaAdapter, agent_id: str) -> None:
    await adapter.register_tool(add)
    events = adapter.execute_stream(ExecuteRequest(message=script(ADD, "never said"), agent_id=agent_id))
    async for event in events:
        if event.type == "tool_call_start":
            break
    await events.aclose()
    assert await said(adapter, agent_id) == "Here I am."


async def test_endless_calls_leave_the_agent_free(
    adapter: LettaAdapter, agent_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("openharness_letta.run.LONGEST_RUN", 2)
    await adapter.register_tool(add)
    with pytest.raises(RunFailed, match="no end after 2 rounds"):
        await adapter.execute(ExecuteRequest(message=script(ADD, ADD, ADD), agent_id=agent_id))
    assert await said(adapter, agent_id) == "Here I am."


@pytest.mark.parametrize("in_thread", [True, False], ids=["thread", "coroutine"])
async def test_tool_that_ends_the_process_is_an_error_for_its_agent(
    adapter: LettaAdapter, agent_id: str, in_thread: bool
) -> None:
    def leave() -> None:
        sys.exit("enough")

    async def leave_later() -> None:
        sys.exit("enough")

    leave_later.__name__ = "leave"
    await adapter.register_tool(leave if in_thread else leave_later)
    result = await adapter.execute(ExecuteRequest(message=script({"call": "leave"}, "ok"), agent_id=agent_id))
    assert "the tool raised SystemExit: enough" in result.tool_calls[0]["error"]
    assert (result.output, result.metadata["stop_reason"]) == ("ok", "end_turn")
    with pytest.raises(ToolInvocationError, match="SystemExit: enough"):
        await adapter.invoke_tool("leave", {})


async def test_calls_are_answered_where_a_server_cannot_cancel(server: WireServer) -> None:
    server.cancels = False
    server.approval_needed = {"memory_insert"}
    async with LettaAdapter(base_url=server.base_url) as adapter:
        agent_id = await adapter.create_agent({"name": "ann"})
        calls = [WAIT, {"call": "memory_insert"}]
        running = await begun_in_a_tool(adapter, agent_id, calls, "ok", approve=lambda call: True)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        [message] = server.bodies[-1]["messages"]
        assert [{**given, "tool_call_id": ""} for given in message["approvals"]] == [
            {"type": "tool", "tool_call_id": "", "tool_return": LEFT, "status": "error"},
            {"type": "approval", "tool_call_id": "", "approve": False, "reason": LEFT},
        ]
        assert await said(adapter, agent_id) == "Here I am."


async def test_second_cancellation_does_not_stop_the_agent_from_being_freed(server: WireServer) -> None:
    async with LettaAdapter(base_url=server.base_url) as adapter:
        agent_id = await adapter.create_agent({"name": "ann"})
        running = await begun_in_a_tool(adapter, agent_id, WAIT)
        while not running.done():
            running.cancel()
            await asyncio.sleep(0)
        assert await said(adapter, agent_id) == "Here I am."
        assert server.cancelled == ["run-1"]


async def test_run_without_tools_of_this_process_goes_on_when_it_is_left(server: WireServer) -> None:
    async with LettaAdapter(base_url=server.base_url) as adapter:
        agent_id = await adapter.create_agent({"name": "ann"})
        events = adapter.execute_stream(ExecuteRequest(message=script(["One.", "Two."]), agent_id=agent_id))
        await anext(events)
        await events.aclose()
        assert server.cancelled == []


async def test_refused_message_names_the_calls_to_decide_about(server: WireServer) -> None:
    async with LettaAdapter(base_url=server.base_url) as adapter:
        agent_id = await adapter.create_agent({"name": "ann"})
        server.agents[agent_id].pending = [{"tool_call_id": "call-7", "name": "pay", "arguments": "{}"}]
        with pytest.raises(ConflictError) as refused:
            await adapter.execute(ExecuteRequest(message="hi", agent_id=agent_id))
        assert f'answer_approvals("{agent_id}", {{"call-7": True}}): pay' in str(refused.value)
