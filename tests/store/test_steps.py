"""Steps as rows."""

from typing import Any

import pytest
from sqlalchemy import Connection
from tests.store.seeds import START, a_run, a_step, an_agent, at

from letta.errors import NotFound
from letta.schemas.steps import Step, StepMetrics
from letta.store import steps, traces
from letta.store.access import Database
from letta.store.steps import StepFilter


def a_story(connection: Connection) -> dict[str, str]:
    ada, bob = an_agent(connection), an_agent(connection, project_id="p")
    run = a_run(connection, ada)
    return {
        "ada": ada,
        "run": run,
        "first": a_step(connection, ada, run, seconds=1),
        "liked": a_step(connection, ada, run, seconds=2, feedback="positive", model="large", tags=["a", 'say "b"']),
        "other": a_step(connection, bob, a_run(connection, bob), seconds=3),
    }


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, ["other", "liked", "first"]),
        ({"agent_id": "ada"}, ["liked", "first"]),
        ({"run_id": "run"}, ["liked", "first"]),
        ({"model": "large"}, ["liked"]),
        ({"feedback": "positive"}, ["liked"]),
        ({"feedback": "negative"}, []),
        ({"has_feedback": True}, ["liked"]),
        ({"has_feedback": False}, ["other", "first"]),
        ({"tags": ["a", "z"]}, ["liked"]),
        ({"tags": ['say "b"']}, ["liked"]),
        ({"tags": ["b", "sa", "%"]}, []),
        ({"project_id": "p"}, ["other"]),
        ({"created_after": at(1)}, ["other", "liked"]),
        ({"created_before": at(2)}, ["first"]),
    ],
)
async def test_a_filter_finds_what_it_says(database: Database, wanted: dict[str, Any], expected: list[str]) -> None:
    ids = await database.write(a_story)
    translated: dict[str, Any] = {
        key: ids.get(value, value) if isinstance(value, str) else value for key, value in wanted.items()
    }
    found = await database.read(lambda connection: steps.list_page(connection, StepFilter(**translated)))
    assert [step.id for step in found] == [ids[name] for name in expected]


async def test_feedback_is_given_changed_and_taken_back(database: Database) -> None:
    step_id = (await database.write(a_story))["first"]
    given = await database.write(steps.give_feedback, step_id, {"feedback": "negative", "tags": ["slow"]})
    assert (given.feedback, given.tags) == ("negative", ["slow"])
    taken = await database.write(steps.give_feedback, step_id, {"feedback": None})
    assert (taken.feedback, taken.tags) == (None, ["slow"])


async def test_a_step_shows_its_row(database: Database) -> None:
    def story(connection: Connection) -> tuple[str, str, str, Step, StepMetrics]:
        agent_id = an_agent(connection)
        run_id = a_run(connection, agent_id)
        step_id = a_step(
            connection, agent_id, run_id, prompt_tokens=5, cached_input_tokens=2, reasoning_tokens=1,
            error_data={"a": 1}, step_start_ns=100, step_ns=9, llm_request_ns=7, tool_execution_ns=1,
        )  # fmt: skip
        return agent_id, run_id, step_id, steps.get(connection, step_id), steps.metrics(connection, step_id)

    agent_id, run_id, step_id, step, metrics = await database.write(story)
    assert {key: value for key, value in step.model_dump(warnings=False).items() if value is not None} == {
        "id": step_id, "run_id": run_id, "agent_id": agent_id, "status": "success", "stop_reason": "end_turn",
        "model": "scripted", "prompt_tokens": 5, "cached_input_tokens": 2, "reasoning_tokens": 1,
        "prompt_tokens_details": {"cached_tokens": 2}, "completion_tokens_details": {"reasoning_tokens": 1},
        "error_data": {"a": 1}, "messages": [], "created_at": START,
    }  # fmt: skip
    assert metrics == StepMetrics(
        id=step_id, run_id=run_id, agent_id=agent_id, step_start_ns=100, llm_request_start_ns=100, llm_request_ns=7,
        tool_execution_ns=1, step_ns=9,
    )  # fmt: skip


async def test_a_trace_comes_back_as_it_was_kept(database: Database) -> None:
    def story(connection: Connection) -> list[Any]:
        ids = a_story(connection)
        traces.add(
            connection, step_id=ids["first"], agent_id=ids["ada"], run_id=ids["run"],
            request=b'{"model": "scripted"}', response={"text": "hi"}, before=None, latency_ms=12.4, created_at=at(1),
        )  # fmt: skip
        of_run = traces.of_run(connection, ids["run"], 10)
        return [traces.of_step(connection, ids["first"]), of_run[0], traces.of_step(connection, ids["liked"])]

    trace, of_run, none = await database.write(story)
    assert (trace.request_json, trace.response_json, trace.latency_ms) == ({"model": "scripted"}, {"text": "hi"}, 12)
    assert of_run == trace
    assert none is None


async def test_what_does_not_exist_is_not_found(database: Database) -> None:
    for call in (steps.get, steps.metrics):
        with pytest.raises(NotFound, match="step step-0 not found"):
            await database.read(call, "step-0")
    with pytest.raises(NotFound):
        await database.write(steps.give_feedback, "step-0", {"feedback": "positive"})
