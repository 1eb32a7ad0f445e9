"""Tools that run in the adapter's process, and calls that wait for approval, against the wire server."""

import asyncio
import json
import threading
from typing import Any

import pytest
from tests.openharness_letta.test_execution import script, streamed, usage, without_ids
from tests.openharness_letta.wire_server import WireServer

from openharness.adapter import ToolDefinition
from openharness.types import (
    DoneEvent,
    ErrorEvent,
    ExecuteRequest,
    ExecutionEvent,
    TextEvent,
    ToolCall,
    ToolCallEndEvent,
    ToolCallStartEvent,
    ToolResultEvent,
)
from openharness_letta import LettaAdapter

pytestmark = pytest.mark.anyio

ADD = {"call": "add", "args": {"a": 2, "b": 3}}


def add(a: int, b: int = 0) -> int:
    """Add two numbers.

    Args:
        a: The first.
        b: The second.
    """
    return a + b


async def test_agent_calls_a_function_of_this_process_in_one_stream(
    server: WireServer, adapter: LettaAdapter, agent_id: str
) -> None:
    await adapter.register_tool(add)
    events = await streamed(adapter, script(["Let me see.", ADD], "It is 5."), agent_id)
    assert without_ids(events) == [
        TextEvent(content="Let "),
        TextEvent(content="me "),
        TextEvent(content="see."),
        ToolCallStartEvent(id="call 1", name="add", input={"a": 2, "b": 3}),
        ToolResultEvent(id="call 1", success=True, output="5"),
        ToolCallEndEvent(id="call 1"),
        TextEvent(content="\nIt "),
        TextEvent(content="is "),
        TextEvent(content="5."),
        DoneEvent(usage=usage(2)),
    ]
    offered = [
        {
            "name": "add",
            "description": "Add two numbers.",
            "parameters": {
                "type": "object",
                "properties": {
                    "a": {"type": "integer", "description": "The first."},
                    "b": {"type": "integer", "description": "The second."},
                },
                "required": ["a"],
            },
        }
    ]
    first, second = server.bodies
    assert (first["client_tools"], second["client_tools"]) == (offered, offered)
    call_id = next(event.id for event in events if isinstance(event, ToolCallStartEvent))
    answer = {"type": "tool", "tool_call_id": call_id, "tool_return": "5", "status": "success"}
    assert second["messages"] == [{"type": "approval", "approvals": [answer]}]


async def test_execute_attaches_the_output_of_a_client_tool(adapter: LettaAdapter, agent_id: str) -> None:
    await adapter.register_tool(add)
    result = await adapter.execute(ExecuteRequest(message=script(ADD, "It is 5."), agent_id=agent_id))
    [call] = result.tool_calls
    assert {**call, "id": ""} == {"id": "", "name": "add", "input": {"a": 2, "b": 3}, "output": "5"}
    assert (result.output, result.metadata["stop_reason"]) == ("It is 5.", "end_turn")


async def test_handler_may_take_the_whole_input_or_be_a_coroutine(adapter: LettaAdapter, agent_id: str) -> None:
    async def shout(given: dict[str, Any]) -> dict[str, Any]:
        return {"shouted": given["text"].upper()}

    schema = {"type": "object", "properties": {"text": {"type": "string"}}}
    await adapter.register_tool(ToolDefinition("shout", "Shouts", schema), handler=shout)
    result = await adapter.execute(
        ExecuteRequest(message=script({"call": "shout", "args": {"text": "hi"}}, "ok"), agent_id=agent_id)
    )
    assert result.tool_calls[0]["output"] == '{"shouted": "HI"}'


async def test_tool_that_raises_is_an_error_for_its_agent_and_the_run_goes_on(
    adapter: LettaAdapter, agent_id: str
) -> None:
    await adapter.register_tool(add)
    events = without_ids(await streamed(adapter, script({"call": "add", "args": {"c": 1}}, "ok"), agent_id))
    result = events[1]
    assert isinstance(result, ToolResultEvent)
    assert (result.success, result.output) == (False, None)
    assert "TypeError" in str(result.error)
    assert events[-1].type == "done"


async def test_definition_without_an_implementation_answers_with_a_clear_error(
    adapter: LettaAdapter, agent_id: str
) -> None:
    await adapter.register_tool(ToolDefinition("later", "Does it later", {}))
    result = await adapter.execute(ExecuteRequest(message=script({"call": "later"}, "ok"), agent_id=agent_id))
    assert "without an implementation" in result.tool_calls[0]["error"]


async def test_parallel_client_tools_run_side_by_side(adapter: LettaAdapter, agent_id: str) -> None:
    meeting = threading.Barrier(2, timeout=10)

    def meet(name: str) -> str:
        meeting.wait()
        return f"met {name}"

    await adapter.register_tool(meet)
    calls = [{"call": "meet", "args": {"name": name}} for name in ("ann", "bob")]
    result = await adapter.execute(ExecuteRequest(message=script(calls, "ok"), agent_id=agent_id))
    assert [call["output"] for call in result.tool_calls] == ["met ann", "met bob"]


async def test_blocking_tool_leaves_the_event_loop_free(adapter: LettaAdapter, agent_id: str) -> None:
    called, released = threading.Event(), threading.Event()

    def block() -> bool:
        called.set()
        return released.wait(10)

    await adapter.register_tool(block)
    running = asyncio.create_task(
        adapter.execute(ExecuteRequest(message=script({"call": "block"}, "ok"), agent_id=agent_id))
    )
    assert await asyncio.to_thread(called.wait, 10)
    released.set()
    assert (await running).tool_calls[0]["output"] == "true"


async def test_request_chooses_among_registered_tools(server: WireServer, adapter: LettaAdapter, agent_id: str) -> None:
    await adapter.register_tool(add)
    await adapter.register_tool(ToolDefinition("later", "Does it later", {}))
    await adapter.execute(ExecuteRequest(message="hi", agent_id=agent_id, tools=["add", "memory_insert"]))
    await adapter.execute(ExecuteRequest(message="hi", agent_id=agent_id, tools=[]))
    await adapter.execute(ExecuteRequest(message="hi", agent_id=agent_id))
    assert [[tool["name"] for tool in body.get("client_tools", [])] for body in server.bodies] == [
        ["add"],
        [],
        ["add", "later"],
    ]


async def test_unregistered_tool_is_no_longer_offered(server: WireServer, adapter: LettaAdapter, agent_id: str) -> None:
    await adapter.register_tool(add)
    await adapter.unregister_tool("add")
    await adapter.execute(ExecuteRequest(message="hi", agent_id=agent_id))
    assert "client_tools" not in server.bodies[0]


async def test_approved_call_runs_and_denied_call_does_not(
    server: WireServer, adapter: LettaAdapter, agent_id: str
) -> None:
    server.approval_needed = {"memory_insert", "memory_replace"}
    asked: list[tuple[str, dict[str, Any]]] = []

    async def approve(call: ToolCall) -> bool | str:
        asked.append((call.name, call.input))
        return True if call.name == "memory_insert" else "not today"

    calls = [{"call": "memory_insert", "args": {"n": 1}}, {"call": "memory_replace", "args": {"n": 2}}]
    result = await adapter.execute(ExecuteRequest(message=script(calls, "ok"), agent_id=agent_id), approve=approve)
    assert asked == [("memory_insert", {"n": 1}), ("memory_replace", {"n": 2})]
    assert [{**call, "id": ""} for call in result.tool_calls] == [
        {"id": "", "name": "memory_insert", "input": {"n": 1}, "output": 'memory_insert ran with {"n": 1}'},
        {"id": "", "name": "memory_replace", "input": {"n": 2}, "error": "denied: not today"},
    ]
    assert (result.output, result.metadata["stop_reason"]) == ("ok", "end_turn")


async def test_approvals_and_client_tools_are_answered_together(
    server: WireServer, adapter: LettaAdapter, agent_id: str
) -> None:
    server.approval_needed = {"memory_insert"}
    await adapter.register_tool(add)
    calls = [{"call": "memory_insert", "args": {"n": 1}}, ADD]
    request = ExecuteRequest(message=script(calls, "ok"), agent_id=agent_id)
    result = await adapter.execute(request, approve=lambda call: False)
    assert [call.get("output", call.get("error")) for call in result.tool_calls] == ["denied: None", "5"]


async def test_call_that_waits_for_approval_does_not_look_done(
    server: WireServer, adapter: LettaAdapter, agent_id: str
) -> None:
    server.approval_needed = {"memory_insert"}
    message = script({"call": "memory_insert", "args": {"n": 1}}, "ok")
    assert without_ids(await streamed(adapter, message, agent_id)) == [
        ToolCallStartEvent(id="call 1", name="memory_insert", input={"n": 1}),
        ToolResultEvent(id="call 1", success=False, error="waiting for approval"),
        ToolCallEndEvent(id="call 1"),
        ErrorEvent(code="approval_required", message="Waiting for approval of memory_insert", recoverable=True),
    ]


@pytest.mark.parametrize(
    ("decision", "told"),
    [(True, {"output": 'memory_insert ran with {"n": 1}'}), ("no", {"error": "denied: no"})],
    ids=["approved", "denied"],
)
async def test_waiting_call_is_decided_later(
    server: WireServer, adapter: LettaAdapter, agent_id: str, decision: bool | str, told: dict[str, str]
) -> None:
    server.approval_needed = {"memory_insert"}
    message = script({"call": "memory_insert", "args": {"n": 1}}, "ok")
    paused = await adapter.execute(ExecuteRequest(message=message, agent_id=agent_id))
    [waiting] = paused.metadata["pending_approvals"]
    assert (paused.output, paused.metadata["stop_reason"]) == ("", "requires_approval")
    assert waiting == {"id": waiting["id"], "name": "memory_insert", "input": {"n": 1}}
    with pytest.raises(ValueError, match=f"waits for {waiting['id']}"):
        await adapter.answer_approvals(agent_id, {"another": True})
    result = await adapter.answer_approvals(agent_id, {waiting["id"]: decision})
    assert result.tool_calls == [{"id": waiting["id"], "name": "memory_insert", "input": {"n": 1}, **told}]
    assert (result.output, result.metadata) == ("ok", {"agent_id": agent_id, "stop_reason": "end_turn"})
    with pytest.raises(ValueError, match="waits for nothing"):
        await adapter.answer_approvals(agent_id, {waiting["id"]: True})


async def test_client_tool_left_waiting_by_another_process_can_be_run_later(
    server: WireServer, adapter: LettaAdapter, agent_id: str
) -> None:
    arguments = json.dumps({"a": 1, "b": 1})
    server.agents[agent_id].pending = [{"tool_call_id": "call-1", "name": "add", "arguments": arguments}]
    server.agents[agent_id].script = ["It is 2."]
    await adapter.register_tool(add)
    result = await adapter.answer_approvals(agent_id, {"call-1": True})
    assert result.tool_calls == [{"id": "call-1", "name": "add", "input": {"a": 1, "b": 1}, "output": "2"}]
    assert result.output == "It is 2."


async def test_client_tool_called_without_end_ends_in_an_error(adapter: LettaAdapter, agent_id: str) -> None:
    await adapter.register_tool(add)
    events: list[ExecutionEvent] = await streamed(adapter, script(*[ADD] * 101), agent_id)
    assert isinstance(events[-1], ErrorEvent)
    assert "no end after 100 rounds" in events[-1].message
