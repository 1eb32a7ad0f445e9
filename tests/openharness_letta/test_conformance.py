"""The published conformance checks, against the wire server; and that they find what they are there to find."""

from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest
from tests.openharness_letta.test_execution import script
from tests.openharness_letta.wire_server import WireServer

from openharness.conformance import CHECKS, Check, NotConformant, Subject, name_of
from openharness.types import ExecuteRequest, ExecutionEvent
from openharness_letta import LettaAdapter

pytestmark = pytest.mark.anyio

CALL = {"call": "memory_insert", "args": {"label": "human", "new_string": "Ann"}}
FAILING = {"call": "conversation_search", "args": {"fail": 1}}


class DyingLetta(LettaAdapter):
    """Asks its agent to die, whatever the message."""

    async def execute_stream(self, request: ExecuteRequest, **options: Any) -> AsyncGenerator[ExecutionEvent, None]:
        dying = request.model_copy(update={"message": script("Half.", CALL, [{"die": True}])})
        async for event in super().execute_stream(dying, **options):
            yield event


def subject_of(server: WireServer, kind: Callable[..., LettaAdapter] = LettaAdapter) -> Subject:
    return Subject(
        make=lambda: kind(base_url=server.base_url),
        tool_message=script(["One.", CALL], "Two."),
        parallel_message=script([CALL, FAILING], "Done."),
        dying=lambda: DyingLetta(base_url=server.base_url),
    )


@pytest.mark.parametrize("check", CHECKS, ids=name_of)
async def test_letta_adapter_conforms(server: WireServer, check: Check) -> None:
    await check(subject_of(server))
    # What is left is the one default agent, if any, and its blocks.
    assert len(server.agents) <= 1
    assert len(server.blocks) == 2 * len(server.agents)


class Faulty(LettaAdapter):
    """An adapter with the fault that `spoil` puts into its events."""

    spoil: Callable[[list[ExecutionEvent]], list[ExecutionEvent]]

    async def execute_stream(self, request: ExecuteRequest, **options: Any) -> AsyncGenerator[ExecutionEvent, None]:
        for event in self.spoil([event async for event in super().execute_stream(request, **options)]):
            yield event


FAULTS: dict[str, Callable[[list[ExecutionEvent]], list[ExecutionEvent]]] = {
    "one_terminal_event_comes_last_with_usage": lambda events: [*events, events[-1]],
    "joined_text_of_the_stream_is_the_output": lambda events: [event for event in events if event.type != "text"],
    "tool_call_is_start_result_end_with_one_id": lambda events: [e for e in events if e.type != "tool_result"],
    "parallel_tool_calls_are_kept_apart": lambda events: [
        e.model_copy(update={"id": "one"}) if hasattr(e, "id") else e for e in events
    ],
    "unknown_agent_is_an_error_that_names_it": lambda events: [],
    "empty_message_gives_a_result": lambda events: events[:-1],
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_checks_find_the_faults_they_are_named_for(server: WireServer, fault: str) -> None:
    check = next(check for check in CHECKS if name_of(check) == fault)
    faulty = type("Faulty", (Faulty,), {"spoil": staticmethod(FAULTS[fault])})
    with pytest.raises(NotConformant):
        await check(subject_of(server, faulty))
