"""`/v1/runs`, and `/v1/jobs`, the older name of the same."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.serving import Served, serve

from letta.models.protocol import ModelRequest
from letta.models.scripted import Call

UNKNOWN = "run-00000000-0000-4000-8000-000000000000"
REMEMBER = Call("memory_insert", {"label": "human", "new_string": "Likes tea."})


class Held:
    """A model that answers when it is let go; `asked` is set as soon as it is called."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.released = asyncio.Event()

    async def __call__(self, request: ModelRequest) -> str:
        self.asked.set()
        await self.released.wait()
        return "Here I am."


async def got(served: Served, path: str, **params: Any) -> Any:
    answer = await served.http.get(path, params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


@asynccontextmanager
async def a_turn_with_a_call(folder: Path) -> AsyncIterator[tuple[Served, dict[str, Any], str]]:
    """A server, an agent that has called a tool and then answered, and the id of that run."""
    async with serve(folder, [REMEMBER, "Noted."]) as served:
        agent = await served.agent(memory_blocks=[{"label": "human", "value": ""}])
        said = await served.send(agent["id"], "I like tea.")
        yield served, agent, said["messages"][0]["run_id"]


async def test_a_run_shows_whose_it_is_and_how_it_ended(tmp_path: Path) -> None:
    async with a_turn_with_a_call(tmp_path) as (served, agent, run_id):
        run = await got(served, f"/v1/runs/{run_id}")
        known = {
            "id": run_id, "agent_id": agent["id"], "conversation_id": None, "status": "completed",
            "stop_reason": "end_turn", "background": False, "job_type": "run", "metadata": {"run_type": "send_message"},
        }  # fmt: skip
        assert known.items() <= run.items()
        assert run["created_at"] < run["completed_at"]
        assert await got(served, "/v1/runs/") == [run]
        assert await got(served, f"/v1/jobs/{run_id}") == run
        assert await got(served, "/v1/jobs/") == [run]


async def test_the_messages_of_a_run_are_listed_oldest_first_with_cursors_in_time(tmp_path: Path) -> None:
    async with a_turn_with_a_call(tmp_path) as (served, agent, run_id):
        await served.send(agent["id"], "And now?")
        path = f"/v1/runs/{run_id}/messages"

        async def kinds(**params: Any) -> list[str]:
            return [message["message_type"] for message in await got(served, path, **params)]

        messages = await got(served, path)
        assert {message["run_id"] for message in messages} == {run_id}
        told = ["user_message", "tool_call_message", "tool_return_message", "assistant_message"]
        assert [message["message_type"] for message in messages] == told
        ids = [message["id"] for message in messages]
        assert await kinds(order="desc") == told[::-1]
        assert await kinds(after=ids[1]) == told[2:]
        assert await kinds(before=ids[1]) == told[:1]
        assert await kinds(after=ids[1], order="desc") == told[:1:-1]
        assert await kinds(before=ids[2], order="desc", limit=1) == told[1:2]
        assert await kinds(limit=2) == told[:2]


async def test_usage_steps_metrics_and_trace_of_a_run_agree(tmp_path: Path) -> None:
    async with a_turn_with_a_call(tmp_path) as (served, agent, run_id):
        path = f"/v1/runs/{run_id}"
        steps = await got(served, f"{path}/steps", order="asc")
        assert [step["run_id"] for step in steps] == [run_id, run_id]
        assert await got(served, f"{path}/steps", limit=1) == [steps[1]]
        usage = await got(served, f"{path}/usage")
        assert usage["total_tokens"] == sum(step["total_tokens"] for step in steps) > 0
        assert usage["prompt_tokens"] + usage["completion_tokens"] == usage["total_tokens"]
        traces = await got(served, f"{path}/trace")
        assert [trace["step_id"] for trace in traces] == [step["id"] for step in steps]
        assert await got(served, f"{path}/trace", limit=1) == traces[:1]
        metrics = await got(served, f"{path}/metrics")
        run = await got(served, path)
        [tool] = await got(served, "/v1/tools/", name="memory_insert")
        assert metrics == {
            "id": run_id, "organization_id": "org-00000000-0000-4000-8000-000000000000", "agent_id": agent["id"],
            "project_id": None, "template_id": None, "base_template_id": None,
            "run_start_ns": metrics["run_start_ns"], "run_ns": run["total_duration_ns"], "ttft_ns": run["ttft_ns"],
            "llm_request_ns": sum(step["llm_request_ns"] for step in [
                await got(served, f"/v1/steps/{step['id']}/metrics") for step in steps
            ]),
            "tool_execution_ns": metrics["tool_execution_ns"], "num_steps": 2, "tools_used": [tool["id"]],
            "tool_names": ["memory_insert"],
        }  # fmt: skip


async def test_runs_are_listed_newest_first_and_by_filters(served: Served) -> None:
    ada, bob = await served.agent(), await served.agent()
    for agent, text in ((ada, "one"), (bob, "two"), (ada, "!error auth")):
        await served.http.post(f"/v1/agents/{agent['id']}/messages", json={"input": text})
    failed, second, first = await got(served, "/v1/runs/")
    assert [run["agent_id"] for run in (first, second, failed)] == [ada["id"], bob["id"], ada["id"]]
    assert (failed["status"], failed["stop_reason"]) == ("failed", "llm_api_error")
    cases: list[tuple[dict[str, Any], list[dict[str, Any]]]] = [
        ({"limit": 1}, [failed]),
        ({"after": failed["id"]}, [second, first]),
        ({"before": first["id"], "limit": 1}, [second]),
        ({"order": "asc"}, [first, second, failed]),
        ({"ascending": True}, [first, second, failed]),
        ({"agent_id": ada["id"]}, [failed, first]),
        ({"agent_ids": [bob["id"], ada["id"]]}, [failed, second, first]),
        ({"agent_ids": [bob["id"]]}, [second]),
        ({"agent_id": bob["id"], "conversation_id": "default"}, [second]),
        ({"statuses": ["failed", "running"]}, [failed]),
        ({"stop_reason": "end_turn"}, [second, first]),
        ({"background": True}, []),
        ({"active": True}, []),
        ({"active": False}, [failed, second, first]),
    ]
    for params, expected in cases:
        assert await got(served, "/v1/runs/", **params) == expected, params
    assert await got(served, "/v1/runs/active") == []
    assert await got(served, "/v1/jobs/active") == []
    assert await got(served, "/v1/jobs/", source_id="source-1") == []


async def test_a_run_that_works_is_active_cannot_be_deleted_and_is_cancelled_as_a_job(tmp_path: Path) -> None:
    held = Held()
    async with serve(tmp_path, [held]) as served:
        agent = await served.agent()
        started = await served.http.post(f"/v1/agents/{agent['id']}/messages/async", json={"input": "hello"})
        run_id = started.json()["id"]
        await asyncio.wait_for(held.asked.wait(), 5)
        for path in ("/v1/runs/active", "/v1/jobs/active", "/v1/runs/?active=true"):
            assert [run["id"] for run in await got(served, path)] == [run_id]
        assert await got(served, "/v1/runs/active", background=False) == []
        refused = await served.http.delete(f"/v1/runs/{run_id}")
        assert (refused.status_code, refused.json()["detail"]) == (
            409,
            f"run {run_id} is running: cancel it before deleting it",
        )
        cancelled = (await served.http.patch(f"/v1/jobs/{run_id}/cancel")).json()
        assert (cancelled["id"], cancelled["status"], cancelled["stop_reason"]) == (run_id, "cancelled", "cancelled")
        again = await served.http.patch(f"/v1/jobs/{run_id}/cancel")
        assert (again.status_code, again.json()["detail"]) == (
            409,
            f"run {run_id} has ended (cancelled): there is nothing to cancel",
        )
        assert await got(served, "/v1/runs/active") == []


@pytest.mark.parametrize("noun", ["runs", "jobs"])
async def test_a_deleted_run_is_gone_and_its_messages_and_steps_stay(served: Served, noun: str) -> None:
    agent = await served.agent()
    run_id = (await served.send(agent["id"], "hello"))["messages"][0]["run_id"]
    run = await got(served, f"/v1/runs/{run_id}")
    deleted = await served.http.delete(f"/v1/{noun}/{run_id}")
    assert (deleted.status_code, deleted.json()) == (200, run)
    assert (await served.http.get(f"/v1/runs/{run_id}")).status_code == 404
    assert run_id in {message["run_id"] for message in await got(served, f"/v1/agents/{agent['id']}/messages")}
    assert [step["run_id"] for step in await got(served, "/v1/steps/")] == [run_id]


@pytest.mark.parametrize(
    ("verb", "path", "status", "detail"),
    [
        ("GET", f"/runs/{UNKNOWN}", 404, f"run {UNKNOWN} not found"),
        ("DELETE", f"/runs/{UNKNOWN}", 404, f"run {UNKNOWN} not found"),
        ("GET", f"/runs/{UNKNOWN}/messages", 404, f"run {UNKNOWN} not found"),
        ("GET", f"/runs/{UNKNOWN}/steps", 404, f"run {UNKNOWN} not found"),
        ("GET", f"/runs/{UNKNOWN}/usage", 404, f"run {UNKNOWN} not found"),
        ("GET", f"/runs/{UNKNOWN}/metrics", 404, f"run {UNKNOWN} not found"),
        ("GET", f"/runs/{UNKNOWN}/trace", 404, f"run {UNKNOWN} not found"),
        ("POST", f"/runs/{UNKNOWN}/stream", 404, f"run {UNKNOWN} not found"),
        ("GET", "/jobs/job-0", 404, "batch job-0 not found"),
        ("PATCH", f"/jobs/{UNKNOWN}/cancel", 404, f"run {UNKNOWN} not found"),
        ("DELETE", f"/jobs/{UNKNOWN}", 404, f"run {UNKNOWN} not found"),
        ("GET", f"/runs/?after={UNKNOWN}", 404, f"cursor '{UNKNOWN}' not found"),
        ("GET", "/runs/?statuses=asleep", 422, "statuses.0: Input should be 'created', 'running'"),
        ("GET", "/runs/?stop_reason=bored", 422, "stop_reason: Input should be 'end_turn'"),
        ("GET", "/runs/?conversation_id=default", 422, "conversation_id: 'default' needs agent_id"),
        ("GET", "/runs/?limit=100000", 422, "limit: Input should be less than or equal to 1000"),
        ("GET", "/runs/walk-1", 422, "run_id: String should match pattern"),
    ],
)
async def test_a_bad_request_is_told_what_is_wrong(
    served: Served, verb: str, path: str, status: int, detail: str
) -> None:
    answer = await served.http.request(verb, f"/v1{path}")
    assert (answer.status_code, detail in answer.json()["detail"]) == (status, True), answer.text
