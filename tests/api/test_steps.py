"""`/v1/steps`, and `/v1/telemetry`, the older name of their traces."""

from pathlib import Path
from typing import Any

import pytest
from tests.serving import Served, serve

from letta.models.scripted import Call

UNKNOWN = "step-00000000-0000-4000-8000-000000000000"


async def got(served: Served, path: str, **params: Any) -> Any:
    answer = await served.http.get(path, params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def two_steps(served: Served) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """An agent and its first two steps, oldest first."""
    agent = await served.agent()
    for text in ("one", "two"):
        await served.send(agent["id"], text)
    return agent, await got(served, "/v1/steps/", order="asc")


async def test_a_step_names_its_run_its_agent_its_model_and_its_tokens(served: Served) -> None:
    agent, (step, _) = await two_steps(served)
    known = {
        "agent_id": agent["id"], "status": "success", "stop_reason": "end_turn", "model_handle": "letta/scripted",
        "feedback": None, "messages": [], "error_type": None,
    }  # fmt: skip
    assert known.items() <= step.items()
    assert step["prompt_tokens"] + step["completion_tokens"] == step["total_tokens"]
    assert (await got(served, f"/v1/runs/{step['run_id']}"))["agent_id"] == agent["id"]
    assert await got(served, f"/v1/steps/{step['id']}") == step


async def test_steps_are_listed_newest_first_and_by_filters(served: Served) -> None:
    agent, (first, second) = await two_steps(served)
    await served.http.patch(f"/v1/steps/{first['id']}/feedback", json={"feedback": "positive", "tags": ["fast"]})
    first = await got(served, f"/v1/steps/{first['id']}")
    cases: list[tuple[dict[str, Any], list[dict[str, Any]]]] = [
        ({}, [second, first]),
        ({"limit": 1}, [second]),
        ({"after": second["id"]}, [first]),
        ({"before": first["id"]}, [second]),
        ({"agent_id": agent["id"]}, [second, first]),
        ({"agent_id": "agent-0"}, []),
        ({"model": first["model"]}, [second, first]),
        ({"model": "another"}, []),
        ({"feedback": "positive"}, [first]),
        ({"has_feedback": False}, [second]),
        ({"start_date": first["created_at"]}, [second]),
        ({"end_date": second["created_at"]}, [first]),
        ({"start_date": "2020-01-01", "end_date": "2020-01-02T00:00:00+02:00"}, []),
        ({"trace_ids": ["a"]}, []),
        ({"tags": ["fast", "slow"]}, [first]),
        ({"tags": ["fas"]}, []),
        ({"project_id": "none"}, []),
    ]
    for params, expected in cases:
        assert await got(served, "/v1/steps/", **params) == expected, params


async def test_the_messages_of_a_step_are_listed_oldest_first(tmp_path: Path) -> None:
    script = [[Call("memory_insert", {"label": "human", "new_string": "tea"}), "Noting."], "Done."]
    async with serve(tmp_path, script) as served:
        agent = await served.agent(memory_blocks=[{"label": "human", "value": ""}])
        await served.send(agent["id"], "I like tea")
        [step, _] = await got(served, "/v1/steps/", order="asc")
        path = f"/v1/steps/{step['id']}/messages"
        messages = await got(served, path)
        assert {message["step_id"] for message in messages} == {step["id"]}
        kinds = [message["message_type"] for message in messages]
        assert kinds[-1] == "tool_return_message"
        assert sorted(kinds[-3:-1]) == ["assistant_message", "tool_call_message"]
        newest = await got(served, path, order="desc", limit=1)
        assert newest == messages[-1:]
        following = await got(served, path, order="desc", after=newest[0]["id"], limit=1)
        assert {message["id"] for message in following} == {messages[-2]["id"]}


async def test_the_metrics_of_a_step_are_nanoseconds_that_add_up(served: Served) -> None:
    agent, (step, _) = await two_steps(served)
    metrics = await got(served, f"/v1/steps/{step['id']}/metrics")
    assert (metrics["id"], metrics["run_id"], metrics["agent_id"]) == (step["id"], step["run_id"], agent["id"])
    assert 0 < metrics["llm_request_ns"] <= metrics["step_ns"]


async def test_the_trace_of_a_step_is_what_was_sent_and_answered(served: Served) -> None:
    _, (step, _) = await two_steps(served)
    trace = await got(served, f"/v1/steps/{step['id']}/trace")
    assert (trace["step_id"], trace["run_id"]) == (step["id"], step["run_id"])
    assert "one" in str(trace["request_json"])
    assert trace["response_json"]
    assert await got(served, f"/v1/telemetry/{step['id']}") == trace


async def test_without_kept_traces_a_step_has_none(tmp_path: Path) -> None:
    async with serve(tmp_path, keep_traces=False) as served:
        _, (step, _) = await two_steps(served)
        for path in (f"/v1/steps/{step['id']}/trace", f"/v1/telemetry/{step['id']}"):
            assert await got(served, path) is None
        assert await got(served, f"/v1/runs/{step['run_id']}/trace") == []


async def test_feedback_is_given_and_taken_back_and_tags_stay_unless_sent(served: Served) -> None:
    _, (step, _) = await two_steps(served)
    path = f"/v1/steps/{step['id']}/feedback"
    given = (await served.http.patch(path, json={"feedback": "negative", "tags": ["slow"]})).json()
    assert given == {**step, "feedback": "negative", "tags": ["slow"]}
    taken = (await served.http.patch(path, json={"feedback": None})).json()
    assert taken == {**given, "feedback": None}
    assert (await served.http.patch(path, json={"tags": None})).json() == step


@pytest.mark.parametrize(
    ("verb", "path", "body", "status", "detail"),
    [
        ("GET", f"/{UNKNOWN}", None, 404, f"step {UNKNOWN} not found"),
        ("GET", f"/{UNKNOWN}/metrics", None, 404, f"step {UNKNOWN} not found"),
        ("GET", f"/{UNKNOWN}/messages", None, 404, f"step {UNKNOWN} not found"),
        ("GET", f"/{UNKNOWN}/trace", None, 404, f"step {UNKNOWN} not found"),
        ("PATCH", f"/{UNKNOWN}/feedback", {"feedback": "positive"}, 404, f"step {UNKNOWN} not found"),
        (
            "PATCH",
            f"/{UNKNOWN}/feedback",
            {"feedback": "meh"},
            422,
            "feedback: Input should be 'positive' or 'negative'",
        ),
        ("GET", "/step-1", None, 422, "step_id: String should match pattern"),
        ("GET", "?start_date=yesterday", None, 422, "start_date: Input should be a valid datetime"),
        ("GET", "?feedback=meh", None, 422, "feedback: Input should be 'positive' or 'negative'"),
        ("GET", f"?after={UNKNOWN}", None, 404, f"cursor '{UNKNOWN}' not found"),
        ("GET", "?start_date=0001-01-01T00:00:00%2B14:00", None, 422, "start_date"),
    ],
)
async def test_a_bad_request_is_told_what_is_wrong(
    served: Served, verb: str, path: str, body: dict[str, Any] | None, status: int, detail: str
) -> None:
    answer = await served.http.request(verb, f"/v1/steps{path}", json=body)
    assert (answer.status_code, detail in answer.json()["detail"]) == (status, True), answer.text


async def test_a_step_of_the_older_name_that_does_not_exist_is_not_found(served: Served) -> None:
    answer = await served.http.get(f"/v1/telemetry/{UNKNOWN}")
    assert (answer.status_code, answer.json()) == (404, {"detail": f"step {UNKNOWN} not found"})
