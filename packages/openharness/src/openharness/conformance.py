"""What every adapter must do, as checks that anybody can run against theirs.

A `Subject` says how to make the adapter and which messages lead to what. Each of `CHECKS` takes a subject and raises
`NotConformant` if the adapter fails it, so they fit any test framework:

    @pytest.mark.parametrize("check", CHECKS, ids=name_of)
    async def test_conformance(check):
        await check(subject)

Checks of what a subject does not offer (a domain whose flag is off, a message that is not given) pass. Knows no
harness.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from openharness.adapter import HarnessAdapter, ToolDefinition
from openharness.types import (
    DoneEvent,
    ErrorEvent,
    ExecuteRequest,
    ExecutionEvent,
    TextEvent,
    ToolCallDeltaEvent,
    ToolCallEndEvent,
    ToolCallStartEvent,
    ToolResultEvent,
)

CALL_EVENTS = (ToolCallStartEvent, ToolCallDeltaEvent, ToolResultEvent, ToolCallEndEvent)
KNOWN_TYPES = {
    "text",
    "thinking",
    "tool_call_start",
    "tool_call_delta",
    "tool_call_end",
    "tool_result",
    "progress",
    "error",
    "done",
}
SOURCES = {"builtin", "custom", "mcp"}
UNKNOWN_AGENT = "agent-00000000-0000-4000-8000-00000000dead"


class NotConformant(AssertionError):
    """An adapter does not do what every adapter must."""


@dataclass
class Subject:
    """An adapter to be checked.

    `make` gives a fresh adapter, not connected yet. `agent` is what its `create_agent` takes. `tool_message` must make
    the agent call at least one tool, `parallel_message` at least two in one step. `dying` gives an adapter to a harness
    that dies in the middle of its answer to `message`. `deterministic` says that a fresh agent answers the same message
    with the same text.
    """

    make: Callable[[], HarnessAdapter]
    message: str = "Say hello."
    tool_message: str | None = None
    parallel_message: str | None = None
    dying: Callable[[], HarnessAdapter] | None = None
    agent: Mapping[str, Any] = field(default_factory=lambda: {"name": "conformance"})
    deterministic: bool = True


Check = Callable[[Subject], Awaitable[None]]


def name_of(check: Check) -> str:
    """The name of a check, for reports."""
    return str(getattr(check, "__name__", check))


def _demand(holds: object, complaint: str) -> None:
    if not holds:
        raise NotConformant(complaint)


@asynccontextmanager
async def _agent(adapter: Any, subject: Subject) -> AsyncIterator[str | None]:
    """A fresh agent, gone afterwards; none where the adapter has no agents."""
    if not adapter.capabilities.agents:
        yield None
        return
    agent_id: str = await adapter.create_agent(dict(subject.agent))
    try:
        yield agent_id
    finally:
        await adapter.delete_agent(agent_id)


async def _streamed(adapter: HarnessAdapter, message: str, agent_id: str | None) -> list[ExecutionEvent]:
    request = ExecuteRequest(message=message, agent_id=agent_id)
    return [event async for event in adapter.execute_stream(request)]


async def adapter_tells_what_it_is_before_it_is_connected(subject: Subject) -> None:
    adapter = subject.make()
    told = (adapter.id, adapter.name, adapter.version)
    _demand(all(isinstance(text, str) and text for text in told), f"id, name and version must be texts, not {told}")
    manifest = await adapter.get_capability_manifest()
    _demand(manifest.harness_id == adapter.id, f"the manifest is of {manifest.harness_id}, not of {adapter.id}")
    ids = {capability.id for capability in manifest.capabilities if capability.supported}
    flags = adapter.capabilities
    _demand(not flags.execution or "execution.run" in ids, "the manifest lacks execution.run, which the flags claim")
    _demand(not flags.streaming or "execution.stream" in ids, "the manifest lacks execution.stream")
    await adapter.close()


async def adapter_may_be_closed_twice_and_used_again(subject: Subject) -> None:
    adapter = subject.make()
    await adapter.list_tools()
    await adapter.close()
    await adapter.close()
    await adapter.list_tools()
    await adapter.close()


async def joined_text_of_the_stream_is_the_output(subject: Subject) -> None:
    async with subject.make() as adapter:
        for message in filter(None, (subject.message, subject.tool_message, subject.parallel_message)):
            async with _agent(adapter, subject) as first, _agent(adapter, subject) as second:
                result = await adapter.execute(ExecuteRequest(message=message, agent_id=first))
                events = await _streamed(adapter, message, second)
            pieces = [event.content for event in events if isinstance(event, TextEvent)]
            _demand(all(pieces), f"a text event is empty: {pieces}")
            _demand(bool(result.output), f"the output is empty for {message!r}")
            _demand(isinstance(result.tool_calls, list), f"tool_calls is no list: {result.tool_calls}")
            _demand(bool(pieces), "the stream holds no text")
            if subject.deterministic:
                _demand(
                    "".join(pieces) == result.output, f"{''.join(pieces)!r} was streamed, {result.output!r} returned"
                )


async def one_terminal_event_comes_last_with_usage(subject: Subject) -> None:
    async with subject.make() as adapter, _agent(adapter, subject) as agent_id:
        events = await _streamed(adapter, subject.message, agent_id)
    unknown = {event.type for event in events} - KNOWN_TYPES
    _demand(not unknown, f"unexpected event types {sorted(unknown)}")
    _terminal(events)
    last = events[-1]
    _demand(isinstance(last, DoneEvent) and last.usage is not None, f"the last event is {last!r}, not done with usage")


def _terminal(events: list[ExecutionEvent]) -> None:
    ends = [number for number, event in enumerate(events) if isinstance(event, DoneEvent | ErrorEvent)]
    _demand(ends == [len(events) - 1], f"terminal events stand at {ends} of {len(events)} events")


async def tool_call_is_start_result_end_with_one_id(subject: Subject) -> None:
    if subject.tool_message is not None:
        async with subject.make() as adapter, _agent(adapter, subject) as agent_id:
            _calls_in_order(await _streamed(adapter, subject.tool_message, agent_id), at_least=1)


async def parallel_tool_calls_are_kept_apart(subject: Subject) -> None:
    if subject.parallel_message is None:
        return
    async with subject.make() as adapter, _agent(adapter, subject) as agent_id:
        events = await _streamed(adapter, subject.parallel_message, agent_id)
    _calls_in_order(events, at_least=2)


def _calls_in_order(events: list[ExecutionEvent], at_least: int) -> None:
    by_call: dict[str, list[ExecutionEvent]] = {}
    for event in events:
        if isinstance(event, CALL_EVENTS):
            by_call.setdefault(event.id, []).append(event)
    _demand(len(by_call) >= at_least, f"{len(by_call)} tool calls, expected at least {at_least}")
    for call_id, of_call in by_call.items():
        kinds = [event.type for event in of_call if event.type != "tool_call_delta"]
        order = ["tool_call_start", "tool_result", "tool_call_end"]
        _demand(kinds == order, f"call {call_id} gives {kinds}, not {order}")
        result = next(event for event in of_call if isinstance(event, ToolResultEvent))
        told = result.output if result.success else result.error
        _demand(told is not None, f"the result of call {call_id} has neither output nor error")
    _terminal(events)


async def execute_tells_its_tool_calls(subject: Subject) -> None:
    if subject.tool_message is None:
        return
    async with subject.make() as adapter, _agent(adapter, subject) as agent_id:
        result = await adapter.execute(ExecuteRequest(message=subject.tool_message, agent_id=agent_id))
    _demand(result.tool_calls, "no tool calls")
    for call in result.tool_calls:
        _demand(isinstance(call.get("input"), dict), f"the input of {call} is no dict")
        _demand(call.get("id") and call.get("name"), f"{call} lacks an id or a name")
        _demand(call.get("output") is not None or call.get("error"), f"{call} has neither output nor error")
    _demand(result.usage is not None, "no usage")


async def unknown_agent_is_an_error_that_names_it(subject: Subject) -> None:
    async with subject.make() as adapter:
        if not adapter.capabilities.agents:
            return
        for unknown in (UNKNOWN_AGENT, "garbage-id"):
            said = await _refusal(adapter, ExecuteRequest(message=subject.message, agent_id=unknown))
            _demand(unknown in said, f"the error does not name the agent {unknown}: {said}")


async def session_is_refused_by_name_where_there_are_none(subject: Subject) -> None:
    async with subject.make() as adapter, _agent(adapter, subject) as agent_id:
        if adapter.capabilities.sessions:
            return
        request = ExecuteRequest(message=subject.message, agent_id=agent_id, session_id="no-such-session")
        said = await _refusal(adapter, request)
    _demand("session" in said.lower(), f"the error does not mention the session: {said}")


async def _refusal(adapter: HarnessAdapter, request: ExecuteRequest) -> str:
    """What `execute` raises; the stream must say it in one error event."""
    events = [event async for event in adapter.execute_stream(request)]
    _demand(len(events) == 1 and isinstance(events[0], ErrorEvent), f"expected one error event, got {events}")
    try:
        await adapter.execute(request)
    except Exception as error:  # adapters raise what they like; what it says is what counts
        return str(error)
    raise NotConformant(f"{request} was carried out")


async def empty_message_gives_a_result(subject: Subject) -> None:
    async with subject.make() as adapter, _agent(adapter, subject) as agent_id:
        result = await adapter.execute(ExecuteRequest(message="", agent_id=agent_id))
        _demand(isinstance(result.output, str), f"the output is {result.output!r}")
        _terminal(await _streamed(adapter, "", agent_id))


async def executions_run_side_by_side(subject: Subject) -> None:
    async with subject.make() as adapter:

        async def one(number: int) -> str:
            async with _agent(adapter, subject) as agent_id:
                return (await adapter.execute(ExecuteRequest(message=subject.message, agent_id=agent_id))).output

        outputs = await asyncio.gather(*(one(number) for number in range(4)))
    _demand(all(outputs), f"some of four concurrent executions said nothing: {outputs}")


async def agents_are_made_told_listed_and_deleted(subject: Subject) -> None:
    async with subject.make() as made:
        adapter: Any = made
        if not adapter.capabilities.agents:
            return
        agent_id = await adapter.create_agent(dict(subject.agent))
        _demand(isinstance(agent_id, str) and agent_id, f"create_agent gave {agent_id!r}")
        told = await adapter.get_agent(agent_id)
        _demand(told.get("id") == agent_id, f"get_agent gave {told}")
        _demand(agent_id in [agent.get("id") for agent in await adapter.list_agents()], "the agent is not listed")
        await adapter.delete_agent(agent_id)
        _demand(agent_id not in [agent.get("id") for agent in await adapter.list_agents()], "the agent is still listed")


async def default_agents_do_not_pile_up(subject: Subject) -> None:
    counts: list[int] = []
    for _ in range(3):
        async with subject.make() as made:
            adapter: Any = made
            await adapter.execute(ExecuteRequest(message=subject.message))
            if adapter.capabilities.agents:
                counts.append(len(await adapter.list_agents()))
    _demand(len(set(counts)) <= 1, f"the number of agents grows with every adapter: {counts}")


async def tools_are_described(subject: Subject) -> None:
    async with subject.make() as adapter:
        for tool in await adapter.list_tools():
            _demand(tool.id and tool.name and tool.description, f"{tool} lacks an id, a name or a description")
            _demand(tool.source in SOURCES, f"{tool.name} has the source {tool.source}")


async def tools_are_registered_awaited_or_not(subject: Subject) -> None:
    definition = ToolDefinition("conformance_tool", "Answers", {"type": "object", "properties": {}})
    loose: Any = {**vars(definition), "handler": lambda given: "answered"}
    async with subject.make() as made:
        adapter: Any = made
        try:
            await adapter.register_tool(definition)
        except NotImplementedError:
            return
        _demand(await _has_tool(adapter, definition.name), "an awaited registration is not listed")
        await adapter.unregister_tool(definition.name)
        _demand(not await _has_tool(adapter, definition.name), "an awaited removal is still listed")
        given = adapter.register_tool(loose)
        _demand(await _has_tool(adapter, definition.name), "a registration that was not awaited is not listed")
        adapter.unregister_tool(given or definition.name)
        _demand(not await _has_tool(adapter, definition.name), "a removal that was not awaited is still listed")


async def _has_tool(adapter: HarnessAdapter, name: str) -> bool:
    return any(tool.name == name and tool.source == "custom" for tool in await adapter.list_tools())


async def harness_that_dies_gives_one_error_event(subject: Subject) -> None:
    if subject.dying is None:
        return
    async with subject.dying() as adapter:
        events = await _streamed(adapter, subject.message, None)
    _terminal(events)
    _demand(isinstance(events[-1], ErrorEvent), f"the last event is {events[-1]!r}, not an error")


CHECKS: tuple[Check, ...] = (
    adapter_tells_what_it_is_before_it_is_connected,
    adapter_may_be_closed_twice_and_used_again,
    joined_text_of_the_stream_is_the_output,
    one_terminal_event_comes_last_with_usage,
    tool_call_is_start_result_end_with_one_id,
    parallel_tool_calls_are_kept_apart,
    execute_tells_its_tool_calls,
    unknown_agent_is_an_error_that_names_it,
    session_is_refused_by_name_where_there_are_none,
    empty_message_gives_a_result,
    executions_run_side_by_side,
    agents_are_made_told_listed_and_deleted,
    default_agents_do_not_pile_up,
    tools_are_described,
    tools_are_registered_awaited_or_not,
    harness_that_dies_gives_one_error_event,
)
