"""Runs that may not take longer than their request says, and runs that are cancelled, whatever they are doing."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, update
from tests.arrival.conftest import Gate, Serve
from tests.arrival.steps import ended, post, runs_of, said, talk, waiting
from tests.serving import Served, serve

from letta.models.scripted import Call
from letta.store.query import now
from letta.store.tables import runs

HUMAN = [{"label": "human", "value": "Bob"}]
INSERT = Call("memory_insert", {"label": "human", "new_string": "Tall."})


async def asking(served: Served, gate: Gate) -> dict[str, Any]:
    """An agent whose tool call takes as long as another agent needs for its answer."""
    other = await served.agent(name="slow")
    agent = await served.agent(include_multi_agent_tools=True)
    ask = Call("send_message_to_agent_and_wait_for_reply", {"other_agent_id": other["id"], "message": "hm?"})
    served.model.play([ask, gate, "fine"])
    return agent


async def test_model_call_ends_at_the_deadline(tmp_path: Path) -> None:
    async with serve(tmp_path, [INSERT, Gate(), "fine"]) as served:
        agent = await served.agent(memory_blocks=HUMAN)
        answer = await post(served, agent["id"], "hi", deadline_seconds=2)
        [run] = await runs_of(served, agent["id"])
        again = await post(served, agent["id"], "and now?")
    assert (answer.status_code, answer.headers["x-should-retry"]) == (504, "false")
    assert answer.json() == {"detail": f"run {run['id']} did not end within 2 seconds (deadline_seconds)"}
    assert (run["status"], run["stop_reason"]) == ("failed", "error")
    assert run["metadata"]["error"]["type"] == "deadline_exceeded"
    assert again.json()["messages"][0]["content"] == "fine"


async def test_stream_says_that_the_deadline_came(tmp_path: Path) -> None:
    async with serve(tmp_path, [Gate()]) as served:
        agent = await served.agent()
        answer = await post(served, agent["id"], "hi", deadline_seconds=0.1, streaming=True, include_pings=False)
    stop, error, done, _ = answer.text.split("\n\n")
    assert stop == 'data: {"message_type":"stop_reason","stop_reason":"error"}'
    assert '"error_type":"deadline_exceeded"' in error
    assert done == "data: [DONE]"


async def test_tool_call_ends_at_the_deadline_and_is_closed(tmp_path: Path) -> None:
    gate = Gate()
    async with serve(tmp_path) as served:
        agent = await asking(served, gate)
        answer = await post(served, agent["id"], "ask them", deadline_seconds=2)
        listed = await talk(served, agent["id"])
        gate.open.set()
    assert answer.status_code == 504
    assert [kind for kind, _ in listed] == ["user", "tool_call", "tool_return"]
    assert "the run was ended while this tool ran" in listed[2][1]


async def test_waiting_in_line_counts(tmp_path: Path) -> None:
    gate = Gate()
    async with serve(tmp_path, [gate]) as served:
        agent = await served.agent()
        one = asyncio.create_task(post(served, agent["id"], "one"))
        await gate.reached.wait()
        late = await post(served, agent["id"], "two", deadline_seconds=0.1)
        run = (await runs_of(served, agent["id"]))[1]
        gate.open.set()
        first = await one
    assert late.status_code == 504
    assert (run["status"], run["metadata"]["error"]["type"]) == ("failed", "deadline_exceeded")
    assert first.status_code == 200
    assert len(served.model.requests) == 1


async def test_deadline_goes_on_while_the_server_is_down(tmp_path: Path) -> None:
    gate = Gate()
    async with serve(tmp_path, [gate], shutdown_grace=0.01) as served:
        agent = await served.agent()
        body = said("hi", deadline_seconds=3)
        run = (await served.http.post(f"/v1/agents/{agent['id']}/messages/async", json=body)).json()
        await gate.reached.wait()
    async with serve(tmp_path, [Gate()]) as served:
        after = await ended(served, run["id"])
    assert (after["status"], after["metadata"]["error"]["type"]) == ("failed", "deadline_exceeded")


async def test_deadline_that_passed_while_the_server_was_down_ends_the_run_at_once(make_server: Serve) -> None:
    gate = Gate()
    async with make_server(gate, shutdown_grace=0.01) as served:
        agent = await served.agent()
        body = said("hi", deadline_seconds=3600)
        run = (await served.http.post(f"/v1/agents/{agent['id']}/messages/async", json=body)).json()
        await gate.reached.wait()
        await served.parts.database.write(_two_hours_ago, run["id"])
    async with make_server("fine") as served:
        after = await ended(served, run["id"])
        again = await post(served, agent["id"], "and now?")
    assert (after["status"], after["metadata"]["error"]["type"]) == ("failed", "deadline_exceeded")
    assert again.json()["messages"][0]["content"] == "fine"


def _two_hours_ago(connection: Connection, run_id: str) -> None:
    connection.execute(update(runs).where(runs.c.id == run_id).values(created_at=now() - timedelta(hours=2)))


async def test_run_that_is_in_time_is_left_alone(served: Served) -> None:
    agent = await served.agent()
    answer = await post(served, agent["id"], "hi", deadline_seconds=60)
    assert answer.json()["stop_reason"]["stop_reason"] == "end_turn"


@pytest.mark.parametrize("seconds", [0, -1, 604_801, "soon"])
async def test_deadline_that_is_none_is_refused(served: Served, seconds: Any) -> None:
    agent = await served.agent()
    answer = await post(served, agent["id"], "hi", deadline_seconds=seconds)
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("deadline_seconds: ")


# -- cancelled at any moment -------------------------------------------------------------------------------------------


async def cancel(served: Served, agent_id: str) -> dict[str, str]:
    answer = await served.http.post(f"/v1/agents/{agent_id}/messages/cancel", json={})
    cancelled: dict[str, str] = answer.json()
    return cancelled


async def test_cancel_during_a_model_call(tmp_path: Path) -> None:
    gate = Gate()
    async with serve(tmp_path, [gate, "fine"]) as served:
        agent = await served.agent()
        one = asyncio.create_task(post(served, agent["id"], "one"))
        await gate.reached.wait()
        cancelled = await cancel(served, agent["id"])
        answer = (await one).json()
        again = (await post(served, agent["id"], "two")).json()
    assert list(cancelled.values()) == ["cancelled"]
    assert answer["stop_reason"]["stop_reason"] == "cancelled"
    assert again["messages"][0]["content"] == "fine"


async def test_run_that_many_cancel_at_once_is_cancelled_once(make_server: Serve) -> None:
    gate = Gate()
    async with make_server(gate, "fine") as served:
        agent = await served.agent()
        path = f"/v1/agents/{agent['id']}/messages"
        run = (await served.http.post(f"{path}/async", json=said("hi"))).json()
        await gate.reached.wait()
        body = {"run_ids": [run["id"]]}
        answers = await asyncio.gather(*(served.http.post(f"{path}/cancel", json=body) for _ in range(6)))
        [after] = await runs_of(served, agent["id"])
        again = await post(served, agent["id"], "and now?")
    assert [answer.json() for answer in answers] == [{run["id"]: "cancelled"}] * 6
    assert after["status"] == "cancelled"
    assert again.json()["messages"][0]["content"] == "fine"


async def test_cancel_during_a_tool_closes_its_call(tmp_path: Path) -> None:
    gate = Gate()
    async with serve(tmp_path) as served:
        agent = await asking(served, gate)
        one = asyncio.create_task(post(served, agent["id"], "ask them"))
        await gate.reached.wait()
        cancelled = await cancel(served, agent["id"])
        answer = (await one).json()
        listed = await talk(served, agent["id"])
        [run] = await runs_of(served, agent["id"])
        seen = (await served.http.post(f"/v1/runs/{run['id']}/stream", json={"include_pings": False})).text
        again = (await post(served, agent["id"], "never mind")).json()
        gate.open.set()
    assert list(cancelled.values()) == ["cancelled"]
    assert answer["stop_reason"]["stop_reason"] == "cancelled"
    assert [m["message_type"] for m in answer["messages"]] == ["tool_call_message"]
    assert [frame.count("tool_call_message") for frame in seen.split("\n\n")] == [1, 0, 0, 0]
    assert [kind for kind, _ in listed] == ["user", "tool_call", "tool_return"]
    assert again["messages"][0]["content"] == "fine"


async def test_cancel_while_it_waits_in_line(tmp_path: Path) -> None:
    gate = Gate()
    async with serve(tmp_path, [gate]) as served:
        agent = await served.agent()
        tasks = [asyncio.create_task(post(served, agent["id"], "one"))]
        await gate.reached.wait()
        tasks.append(asyncio.create_task(post(served, agent["id"], "two")))
        await waiting(served, agent["id"], 2)
        cancelled = await cancel(served, agent["id"])
        answers = [(await task).json()["stop_reason"]["stop_reason"] for task in tasks]
    assert list(cancelled.values()) == ["cancelled"] * 2
    assert answers == ["cancelled"] * 2


async def test_cancel_while_a_person_is_asked(tmp_path: Path) -> None:
    async with serve(tmp_path, [INSERT, "fine"]) as served:
        agent = await served.agent(memory_blocks=HUMAN)
        rule = f"/v1/agents/{agent['id']}/tools/approval/memory_insert"
        await served.http.patch(rule, json={"requires_approval": True})
        await post(served, agent["id"], "I am tall")
        cancelled = await cancel(served, agent["id"])
        again = (await post(served, agent["id"], "never mind")).json()
    assert list(cancelled.values()) == ["cancelled"]
    assert again["messages"][0]["content"] == "fine"
