"""Runs as rows: what is found, and the numbers of one."""

from typing import Any

import pytest
from sqlalchemy import Connection
from tests.store.seeds import START, a_message, a_run, a_step, an_agent, at

from letta.errors import NotFound
from letta.schemas.common import DEFAULT_ORGANIZATION_ID
from letta.schemas.messages import Role, ToolCallPart
from letta.schemas.run_metrics import RunMetrics
from letta.schemas.runs import CompletionTokensDetails, PromptTokensDetails, RunUsage
from letta.store import run_metrics, runs, tools
from letta.store.access import Database
from letta.store.runs import RunFilter


def a_day(connection: Connection) -> dict[str, str]:
    """Five runs of two agents, named by what is special about each."""
    ada, bob = an_agent(connection), an_agent(connection)
    return {
        "ada": ada,
        "bob": bob,
        "plain": a_run(connection, ada, seconds=1),
        "background": a_run(connection, ada, seconds=2, background=True),
        "failed": a_run(connection, ada, seconds=3, status="failed", stop_reason="error"),
        "running": a_run(connection, ada, seconds=4, status="running"),
        "waiting": a_run(connection, bob, seconds=5, status="created"),
    }


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, ["waiting", "running", "failed", "background", "plain"]),
        ({"agent_id": "ada"}, ["running", "failed", "background", "plain"]),
        ({"agent_ids": ["ada", "bob"]}, ["waiting", "running", "failed", "background", "plain"]),
        ({"agent_ids": ["bob"]}, ["waiting"]),
        ({"conversation_id": "bob"}, ["waiting"]),
        ({"statuses": ["failed", "created"]}, ["waiting", "failed"]),
        ({"background": True}, ["background"]),
        ({"stop_reason": "error"}, ["failed"]),
        ({"active": True}, ["waiting", "running"]),
        ({"active": False}, ["failed", "background", "plain"]),
        ({"created_after": at(3)}, ["waiting", "running"]),
        ({"created_before": at(3)}, ["background", "plain"]),
        ({"agent_id": "bob", "active": False}, []),
    ],
)
async def test_a_filter_finds_what_it_says(database: Database, wanted: dict[str, Any], expected: list[str]) -> None:
    ids = await database.write(a_day)

    def named(value: Any) -> Any:
        return [ids[name] for name in value] if isinstance(value, list) else ids.get(value, value)

    translated = {
        field: named(value) if field in ("agent_id", "agent_ids", "conversation_id") else value
        for field, value in wanted.items()
    }
    found = await database.read(lambda connection: runs.list_page(connection, RunFilter(**translated)))
    assert [run.id for run in found] == [ids[name] for name in expected]


async def test_the_usage_of_a_run_is_the_sum_of_its_steps(database: Database) -> None:
    def story(connection: Connection) -> RunUsage:
        agent_id = an_agent(connection)
        run_id = a_run(connection, agent_id)
        a_step(connection, agent_id, run_id, prompt_tokens=10, completion_tokens=2, total_tokens=12)
        a_step(
            connection, agent_id, run_id, prompt_tokens=20, completion_tokens=5, total_tokens=25,
            cached_input_tokens=8, reasoning_tokens=3,
        )  # fmt: skip
        return runs.usage(connection, run_id)

    assert await database.write(story) == RunUsage(
        prompt_tokens=30,
        completion_tokens=7,
        total_tokens=37,
        prompt_tokens_details=PromptTokensDetails(cached_tokens=8, cache_read_tokens=8),
        completion_tokens_details=CompletionTokensDetails(reasoning_tokens=3),
    )


async def test_the_numbers_of_a_run_come_from_its_row_its_steps_and_its_calls(database: Database) -> None:
    def story(connection: Connection) -> tuple[str, str, str, RunMetrics]:
        agent_id = an_agent(connection, project_id="p")
        run_id = a_run(connection, agent_id, total_duration_ns=90, ttft_ns=7)
        tool = tools.put(connection, {"name": "roll", "tool_type": "letta_core", "tags": [], "return_char_limit": 100})
        for number, names in enumerate((["roll", "gone"], ["roll"])):
            a_step(connection, agent_id, run_id, llm_request_ns=30, tool_execution_ns=4)
            calls = [ToolCallPart(id=f"call-{number}-{name}", name=name) for name in names]
            a_message(connection, agent_id, number, "", *calls, role=Role.ASSISTANT, run_id=run_id)
        return agent_id, run_id, tool.id, run_metrics.of_run(connection, run_id)

    agent_id, run_id, tool_id, metrics = await database.write(story)
    assert metrics == RunMetrics(
        id=run_id,
        organization_id=DEFAULT_ORGANIZATION_ID,
        agent_id=agent_id,
        project_id="p",
        run_start_ns=int(START.timestamp()) * 1_000_000_000,
        run_ns=90,
        ttft_ns=7,
        llm_request_ns=60,
        tool_execution_ns=8,
        num_steps=2,
        tools_used=[tool_id],
        tool_names=["roll", "gone"],
    )


async def test_a_run_without_steps_has_no_durations(database: Database) -> None:
    def story(connection: Connection) -> RunMetrics:
        return run_metrics.of_run(connection, a_run(connection, an_agent(connection), status="created"))

    metrics = await database.write(story)
    assert metrics.model_dump(include={"run_ns", "ttft_ns", "llm_request_ns", "num_steps", "tools_used"}) == {
        "run_ns": None,
        "ttft_ns": None,
        "llm_request_ns": None,
        "num_steps": 0,
        "tools_used": [],
    }


async def test_what_does_not_exist_is_not_found(database: Database) -> None:
    for call in (runs.get, runs.usage, runs.remove, run_metrics.of_run):
        with pytest.raises(NotFound, match="run run-0 not found"):
            await database.write(call, "run-0")
