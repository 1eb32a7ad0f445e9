"""Messages and what becomes of them, against the wire server."""

import asyncio
import json
from typing import Any

import pytest
from letta_client import APIConnectionError, NotFoundError
from tests.openharness_letta.wire_server import WireServer

from openharness.types import (
    DoneEvent,
    ErrorEvent,
    ExecuteRequest,
    ExecutionEvent,
    ProgressEvent,
    TextEvent,
    ThinkingEvent,
    ToolCallEndEvent,
    ToolCallStartEvent,
    ToolResultEvent,
    UsageStats,
)
from openharness_letta import LettaAdapter
from openharness_letta.errors import RunFailed

pytestmark = pytest.mark.anyio

UNKNOWN = "agent-00000000-0000-4000-8000-00000000dead"


def script(*steps: Any) -> str:
    return f"!script {json.dumps(steps)}"


async def streamed(adapter: LettaAdapter, message: str, agent_id: str, **options: Any) -> list[ExecutionEvent]:
    request = ExecuteRequest(message=message, agent_id=agent_id)
    return [event async for event in adapter.execute_stream(request, **options)]


def without_ids(events: list[ExecutionEvent]) -> list[ExecutionEvent]:
    """Events with call ids numbered by their first appearance, and no duration."""
    ids: dict[str, str] = {}

    def plain(event: ExecutionEvent) -> ExecutionEvent:
        if isinstance(event, ToolCallStartEvent | ToolResultEvent | ToolCallEndEvent):
            return event.model_copy(update={"id": ids.setdefault(event.id, f"call {len(ids) + 1}")})
        if isinstance(event, DoneEvent) and event.usage is not None:
            return DoneEvent(usage=event.usage.model_copy(update={"duration_ms": None}))
        return event

    return [plain(event) for event in events]


def usage(steps: int = 1) -> UsageStats:
    return UsageStats(input_tokens=10 * steps, output_tokens=5 * steps, total_tokens=15 * steps)


async def test_stream_yields_thought_text_and_usage_token_by_token(adapter: LettaAdapter, agent_id: str) -> None:
    assert without_ids(await streamed(adapter, "hi there", agent_id)) == [
        ThinkingEvent(thinking="The "),
        ThinkingEvent(thinking="user "),
        ThinkingEvent(thinking="speaks."),
        TextEvent(content="You "),
        TextEvent(content="said: "),
        TextEvent(content="hi "),
        TextEvent(content="there"),
        DoneEvent(usage=usage()),
    ]


async def test_thinking_is_left_out_when_not_wanted(adapter: LettaAdapter, agent_id: str) -> None:
    events = await streamed(adapter, "hi", agent_id, include_thinking=False)
    assert {event.type for event in events} == {"text", "done"}


async def test_execute_gives_output_usage_and_metadata(adapter: LettaAdapter, agent_id: str) -> None:
    result = await adapter.execute(ExecuteRequest(message="hi", agent_id=agent_id, metadata={"ticket": 7}))
    assert result.output == "You said: hi"
    assert result.tool_calls == []
    assert result.usage is not None
    assert result.usage.duration_ms is not None
    assert result.usage.model_copy(update={"duration_ms": None}) == usage()
    assert result.metadata == {"ticket": 7, "agent_id": agent_id, "stop_reason": "end_turn"}


async def test_execute_writes_thoughts_into_the_output_when_wanted(adapter: LettaAdapter, agent_id: str) -> None:
    message = script([{"think": "First."}, "One."], [{"think": "Second."}, "Two."])
    result = await adapter.execute(ExecuteRequest(message=message, agent_id=agent_id), include_thinking=True)
    assert result.output == "[Thinking: First.]\nOne.\n[Thinking: Second.]\nTwo."


async def test_joined_text_of_the_stream_is_the_output_of_execute(adapter: LettaAdapter, agent_id: str) -> None:
    message = script(["One fine day."], {"call": "memory_insert", "args": {"a": 1}}, [{"think": "Hm."}, "Two  spaces "])
    events = await streamed(adapter, message, agent_id)
    result = await adapter.execute(ExecuteRequest(message=message, agent_id=agent_id))
    assert "".join(event.content for event in events if isinstance(event, TextEvent)) == result.output
    assert result.output == "One fine day.\nTwo  spaces "


async def test_tool_call_is_start_result_end_with_one_id(adapter: LettaAdapter, agent_id: str) -> None:
    message = script({"call": "memory_insert", "args": {"label": "human", "new_string": "Ann"}}, "ok")
    arguments = '{"label": "human", "new_string": "Ann"}'
    assert without_ids(await streamed(adapter, message, agent_id)) == [
        ToolCallStartEvent(id="call 1", name="memory_insert", input={"label": "human", "new_string": "Ann"}),
        ToolResultEvent(id="call 1", success=True, output=f"memory_insert ran with {arguments}"),
        ToolCallEndEvent(id="call 1"),
        TextEvent(content="ok"),
        DoneEvent(usage=usage()),
    ]


async def test_parallel_calls_are_kept_apart(adapter: LettaAdapter, agent_id: str) -> None:
    calls = [
        {"call": "memory_insert", "args": {"n": 1}},
        {"call": "conversation_search", "args": {"query": "x", "n": 2}},
    ]
    events = without_ids(await streamed(adapter, script(calls, "ok"), agent_id))
    assert [event for event in events if getattr(event, "id", "") == "call 1"] == [
        ToolCallStartEvent(id="call 1", name="memory_insert", input={"n": 1}),
        ToolResultEvent(id="call 1", success=True, output='memory_insert ran with {"n": 1}'),
        ToolCallEndEvent(id="call 1"),
    ]
    assert [event for event in events if getattr(event, "id", "") == "call 2"] == [
        ToolCallStartEvent(id="call 2", name="conversation_search", input={"query": "x", "n": 2}),
        ToolResultEvent(id="call 2", success=True, output='conversation_search ran with {"query": "x", "n": 2}'),
        ToolCallEndEvent(id="call 2"),
    ]


async def test_execute_attaches_outputs_and_errors_to_tool_calls(adapter: LettaAdapter, agent_id: str) -> None:
    message = script(
        [{"call": "memory_insert", "args": {"n": 1}}, {"call": "memory_replace", "args": {"fail": 1}}], "ok"
    )
    result = await adapter.execute(ExecuteRequest(message=message, agent_id=agent_id))
    assert [{**call, "id": ""} for call in result.tool_calls] == [
        {"id": "", "name": "memory_insert", "input": {"n": 1}, "output": 'memory_insert ran with {"n": 1}'},
        {"id": "", "name": "memory_replace", "input": {"fail": 1}, "error": "it failed"},
    ]


async def test_failed_tool_is_a_result_without_success_and_the_run_goes_on(
    adapter: LettaAdapter, agent_id: str
) -> None:
    events = without_ids(
        await streamed(adapter, script({"call": "memory_insert", "args": {"fail": 1}}, "ok"), agent_id)
    )
    assert events[1] == ToolResultEvent(id="call 1", success=False, error="it failed")
    assert events[-1] == DoneEvent(usage=usage())


async def test_arguments_that_are_no_json_object_are_kept_raw(adapter: LettaAdapter, agent_id: str) -> None:
    result = await adapter.execute(
        ExecuteRequest(message=script({"call": "memory_insert", "args": "{broken"}, "ok"), agent_id=agent_id)
    )
    assert result.tool_calls[0]["input"] == {"_raw": "{broken"}


@pytest.mark.parametrize("tokens", [True, False])
async def test_every_field_of_a_request_reaches_the_server(
    server: WireServer, adapter: LettaAdapter, agent_id: str, tokens: bool
) -> None:
    request = ExecuteRequest(message="hi", agent_id=agent_id, system_prompt="Be brief.", model="openai/gpt-4o")
    if tokens:
        _ = [event async for event in adapter.execute_stream(request, max_steps=3)]
    else:
        await adapter.execute(request, max_steps=3)
    assert server.bodies == [
        {
            "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}],
            "streaming": True,
            "stream_tokens": tokens,
            "include_pings": True,
            "include_compaction_messages": True,
            "override_model": "openai/gpt-4o",
            "max_steps": 3,
        }
    ]


@pytest.mark.parametrize(
    ("field", "value"), [("session_id", "s"), ("max_tokens", 10), ("temperature", 0.5)], ids=lambda value: str(value)
)
async def test_fields_nobody_could_honour_are_refused_by_name(
    server: WireServer, adapter: LettaAdapter, agent_id: str, field: str, value: Any
) -> None:
    request = ExecuteRequest.model_validate({"message": "hi", "agent_id": agent_id, field: value})
    with pytest.raises(ValueError, match=f"ExecuteRequest.{field} is not supported"):
        await adapter.execute(request)
    [event] = [event async for event in adapter.execute_stream(request)]
    assert isinstance(event, ErrorEvent)
    assert (event.code, event.recoverable) == ("execution_error", False)
    assert field in event.message
    assert server.bodies == []


async def test_unknown_option_is_refused_by_name(adapter: LettaAdapter, agent_id: str) -> None:
    with pytest.raises(TypeError, match="unknown option colour"):
        await adapter.execute(ExecuteRequest(message="hi", agent_id=agent_id), colour="red")


async def test_named_tools_must_be_the_agents(server: WireServer, adapter: LettaAdapter, agent_id: str) -> None:
    await adapter.execute(ExecuteRequest(message="hi", agent_id=agent_id, tools=["memory_insert"]))
    with pytest.raises(ValueError, match=r"ExecuteRequest.tools names nonsense, which agent .* does not have"):
        await adapter.execute(ExecuteRequest(message="hi", agent_id=agent_id, tools=["memory_insert", "nonsense"]))
    assert len(server.bodies) == 1


@pytest.mark.parametrize("unknown", [UNKNOWN, "garbage"])
async def test_unknown_agent_is_an_error_that_names_it(adapter: LettaAdapter, unknown: str) -> None:
    for message in ("hi", ""):
        with pytest.raises(Exception, match=f"Agent {unknown}"):
            await adapter.execute(ExecuteRequest(message=message, agent_id=unknown))
    [event] = await streamed(adapter, "hi", unknown)
    assert isinstance(event, ErrorEvent)
    assert unknown in event.message


async def test_unknown_model_is_an_error_that_names_it(
    server: WireServer, adapter: LettaAdapter, agent_id: str
) -> None:
    server.unknown_handles = {"openai/none"}
    with pytest.raises(NotFoundError, match="Handle openai/none not found"):
        await adapter.execute(ExecuteRequest(message="hi", agent_id=agent_id, model="openai/none"))


@pytest.mark.parametrize("refuses", [True, False])
async def test_empty_message_gives_a_result(
    server: WireServer, adapter: LettaAdapter, agent_id: str, refuses: bool
) -> None:
    server.refuses_empty = refuses
    result = await adapter.execute(ExecuteRequest(message="", agent_id=agent_id))
    assert result.output == ("" if refuses else "You said: ")
    assert ("refused" in result.metadata) is refuses
    assert [event.type for event in await streamed(adapter, "", agent_id)][-1] == "done"


async def test_empty_message_a_model_refuses_gives_a_result(
    server: WireServer, adapter: LettaAdapter, agent_id: str
) -> None:
    server.model_refuses_empty = True
    result = await adapter.execute(ExecuteRequest(message=" ", agent_id=agent_id))
    assert (result.output, result.metadata["refused"]) == ("", "llm_error: no luck")
    assert [event.type for event in await streamed(adapter, "", agent_id)] == ["done"]


async def test_server_that_dies_in_the_middle_gives_one_error_event(adapter: LettaAdapter, agent_id: str) -> None:
    message = script("Half of it.", [{"call": "memory_insert", "args": {"n": 1}}], [{"die": True}])
    events = without_ids(await streamed(adapter, message, agent_id))
    assert [event.type for event in events].count("error") == 1
    assert events[:-1] == [
        TextEvent(content="Half "),
        TextEvent(content="of "),
        TextEvent(content="it."),
        ToolCallStartEvent(id="call 1", name="memory_insert", input={"n": 1}),
        ToolResultEvent(id="call 1", success=True, output='memory_insert ran with {"n": 1}'),
        ToolCallEndEvent(id="call 1"),
    ]
    assert isinstance(events[-1], ErrorEvent)
    assert "broke off" in events[-1].message
    assert (events[-1].code, events[-1].recoverable) == ("execution_error", False)


async def test_server_that_dies_leaves_the_result_so_far_on_the_error(adapter: LettaAdapter, agent_id: str) -> None:
    message = script("Half of it.", [{"die": True}])
    with pytest.raises(RunFailed, match=f"Agent {agent_id}: the stream broke off") as raised:
        await adapter.execute(ExecuteRequest(message=message, agent_id=agent_id, metadata={"ticket": 7}))
    assert raised.value.result is not None
    assert raised.value.result.output == "Half of it."
    assert raised.value.result.metadata == {"ticket": 7, "agent_id": agent_id, "stop_reason": None}


async def test_stream_that_ends_without_a_stop_reason_is_an_error(adapter: LettaAdapter, agent_id: str) -> None:
    message = script([{"frame": {"message_type": "stop_reason", "stop_reason": None}}, {"end": None}])
    events = await streamed(adapter, message, agent_id)
    assert isinstance(events[-1], ErrorEvent)
    assert "ended before the run did" in events[-1].message


async def test_server_that_cannot_be_reached_is_named(server: WireServer) -> None:
    async with LettaAdapter(base_url="http://127.0.0.1:9") as adapter:
        with pytest.raises(APIConnectionError, match=r"http://127.0.0.1:9.* cannot be reached"):
            await adapter.get_agent(UNKNOWN)
        [event] = await streamed(adapter, "hi", UNKNOWN)
        assert isinstance(event, ErrorEvent)
        assert "cannot be reached" in event.message


async def test_silent_server_is_an_error_after_the_timeout(server: WireServer, agent_id: str) -> None:
    async with LettaAdapter(base_url=server.base_url, timeout=0.2) as adapter:
        events = await streamed(adapter, script(["First.", {"gate": True}, "Last."]), agent_id)
    assert [event.type for event in events] == ["text", "error"]
    assert isinstance(events[-1], ErrorEvent)
    assert "ReadTimeout" in events[-1].message


async def test_error_inside_the_stream_is_one_error_event(adapter: LettaAdapter, agent_id: str) -> None:
    message = script([{"call": "memory_insert", "args": {"n": 1}}], [{"end": "llm_api_error"}])
    events = await streamed(adapter, message, agent_id)
    assert [event.type for event in events] == ["tool_call_start", "tool_result", "tool_call_end", "error"]
    assert isinstance(events[-1], ErrorEvent)
    assert "llm_error: no luck" in events[-1].message
    with pytest.raises(RunFailed, match="llm_error: no luck") as raised:
        await adapter.execute(ExecuteRequest(message=message, agent_id=agent_id))
    assert raised.value.stop_reason == "llm_api_error"


@pytest.mark.parametrize(
    "reason", ["cancelled", "error", "no_tool_call", "max_tokens_exceeded", "insufficient_credits"]
)
async def test_bad_stop_reason_is_an_error(adapter: LettaAdapter, agent_id: str, reason: str) -> None:
    message = script(["Something.", {"end": reason}])
    events = await streamed(adapter, message, agent_id)
    assert [event.type for event in events] == ["text", "error"]
    with pytest.raises(RunFailed, match=f"stop reason {reason}") as raised:
        await adapter.execute(ExecuteRequest(message=message, agent_id=agent_id))
    assert raised.value.stop_reason == reason
    assert raised.value.result is not None
    assert raised.value.result.output == "Something."


@pytest.mark.parametrize("reason", ["max_steps", "tool_rule"])
async def test_good_stop_reason_is_told_in_the_metadata(adapter: LettaAdapter, agent_id: str, reason: str) -> None:
    result = await adapter.execute(ExecuteRequest(message=script(["Well.", {"end": reason}]), agent_id=agent_id))
    assert result.metadata == {"agent_id": agent_id, "stop_reason": reason}


async def test_compaction_is_progress_and_its_summary_is_in_the_metadata(adapter: LettaAdapter, agent_id: str) -> None:
    message = script(
        [
            {"frame": {"message_type": "event_message", "event_type": "compaction", "event_data": {}}},
            {"frame": {"message_type": "summary_message", "summary": "They talked."}},
            "Going on.",
        ]
    )
    result = await adapter.execute(ExecuteRequest(message=message, agent_id=agent_id))
    assert result.metadata["summaries"] == ["They talked."]
    assert [event for event in await streamed(adapter, message, agent_id) if isinstance(event, ProgressEvent)] == [
        ProgressEvent(percentage=0, step="compacting the context"),
        ProgressEvent(percentage=100, step="context compacted"),
    ]


async def test_four_executes_run_side_by_side_and_leave_the_event_loop_free(
    server: WireServer, adapter: LettaAdapter
) -> None:
    agents = [await adapter.create_agent({"name": f"a{number}"}) for number in range(4)]
    message = script([{"gate": True}, "ok"])
    running = [
        asyncio.create_task(adapter.execute(ExecuteRequest(message=message, agent_id=agent))) for agent in agents
    ]
    # All four are at the model before any is let go on, and this very loop waits for that.
    for _ in agents:
        assert await asyncio.to_thread(server.gated.acquire, timeout=10)
    assert server.streams == 4
    server.gate.set()
    assert [result.output for result in await asyncio.gather(*running)] == ["ok"] * 4


async def test_text_arrives_while_the_model_still_works(
    server: WireServer, adapter: LettaAdapter, agent_id: str
) -> None:
    events = adapter.execute_stream(
        ExecuteRequest(message=script(["First.", {"gate": True}, "Last."]), agent_id=agent_id)
    )
    assert await anext(events) == TextEvent(content="First.")
    assert await asyncio.to_thread(server.gated.acquire, timeout=10)
    server.gate.set()
    assert [event.type async for event in events] == ["text", "done"]


async def test_abandoned_stream_closes_its_connection(server: WireServer, adapter: LettaAdapter, agent_id: str) -> None:
    events = adapter.execute_stream(
        ExecuteRequest(message=script(["First.", {"gate": True}, "Last."]), agent_id=agent_id)
    )
    assert await anext(events) == TextEvent(content="First.")
    await events.aclose()
    server.gate.set()
    assert await asyncio.to_thread(server.idle.wait, 10)


async def test_message_is_sent_once_even_if_the_server_fails(server: WireServer, adapter: LettaAdapter) -> None:
    agent_id = await adapter.create_agent({"name": "ann"})
    server.agents[agent_id].pending = [{"tool_call_id": "c", "name": "t", "arguments": "{}"}]
    with pytest.raises(Exception, match=r"waits for approval; decide about it with answer_approvals"):
        await adapter.execute(ExecuteRequest(message="hi", agent_id=agent_id))
    assert len(server.bodies) == 1


async def test_message_that_is_refused_for_good_is_not_offered_again(
    server: WireServer, adapter: LettaAdapter, agent_id: str
) -> None:
    server.conflict = "call-1 was denied before"
    with pytest.raises(Exception, match=r"call-1 was denied before"):
        await adapter.execute(ExecuteRequest(message="hi", agent_id=agent_id))
    assert len(server.bodies) == 1


async def test_busy_agent_is_asked_again_until_it_is_free(
    server: WireServer, adapter: LettaAdapter, agent_id: str
) -> None:
    server.busy = 2
    result = await adapter.execute(ExecuteRequest(message="hi", agent_id=agent_id))
    assert result.output == "You said: hi"
    assert len(server.bodies) == 3
