"""A batch or a schedule that is sent twice is made once."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from tests.arrival.conftest import Serve
from tests.arrival.steps import ended, runs_of, said
from tests.serving import Served

AGAIN = {"x-stainless-retry-count": "1", "x-stainless-read-timeout": "60"}
FIRST = {"x-stainless-retry-count": "0"}
KEY = {"Idempotency-Key": "order-1"}
HOURLY = {"type": "recurring", "cron_expression": "0 * * * *"}

Send = Callable[..., Any]


async def batch(
    served: Served, agent_id: str, text: str, headers: dict[str, str] | None = None, **fields: Any
) -> httpx2.Response:
    body = {"requests": [{"agent_id": agent_id, **said(text, **fields)}]}
    return await served.http.post("/v1/messages/batches", json=body, headers=headers)


async def schedule(
    served: Served, agent_id: str, text: str, headers: dict[str, str] | None = None, **fields: Any
) -> httpx2.Response:
    body = {**said(text, **fields), "schedule": HOURLY}
    return await served.http.post(f"/v1/agents/{agent_id}/schedule", json=body, headers=headers)


async def made(served: Served, agent_id: str) -> list[str]:
    """The ids of all batches, and of the agent's schedules."""
    batches = (await served.http.get("/v1/messages/batches")).json()
    listed = (await served.http.get(f"/v1/agents/{agent_id}/schedule")).json()["scheduled_messages"]
    return [one["id"] for one in [*batches, *listed]]


either = pytest.mark.parametrize("send", [batch, schedule])


@either
async def test_same_key_names_what_was_made_and_refuses_another_body(make_server: Serve, send: Send) -> None:
    async with make_server() as served:
        agent = await served.agent()
        first, second = [await send(served, agent["id"], "hi", KEY) for _ in range(2)]
        wrong = await send(served, agent["id"], "something else", KEY)
        there = await made(served, agent["id"])
    assert first.is_success, first.text
    assert (second.status_code, second.json()["id"]) == (first.status_code, first.json()["id"])
    assert there == [first.json()["id"]]
    assert wrong.status_code == 422
    assert wrong.json()["detail"] == (
        f"Idempotency-Key: {there[0]} was made with this key and another body: "
        "send the same body again, or choose a new key"
    )


async def test_batch_sent_twice_is_worked_on_once(make_server: Serve) -> None:
    async with make_server() as served:
        agent = await served.agent()
        for _ in range(2):
            assert (await batch(served, agent["id"], "hi", KEY)).status_code == 200
        [run] = await runs_of(served, agent["id"])
        assert (await ended(served, run["id"]))["status"] == "completed"


async def test_same_otid_and_text_name_the_batch_that_was_made(make_server: Serve) -> None:
    async with make_server() as served:
        agent = await served.agent()
        first, second, other = [(await batch(served, agent["id"], text, otid="o-1")).json() for text in ("a", "a", "b")]
        there = await made(served, agent["id"])
    assert first["id"] == second["id"] != other["id"]
    assert sorted(there) == sorted([first["id"], other["id"]])


@either
async def test_retry_of_an_sdk_whose_answer_nobody_took_names_what_was_made(make_server: Serve, send: Send) -> None:
    async with make_server() as served:
        agent = await served.agent()
        first = (await send(served, agent["id"], "hi", FIRST)).json()
    # Another process does not know who was there to take the answer.
    async with make_server() as served:
        second = (await send(served, agent["id"], "hi", AGAIN)).json()
        there = await made(served, agent["id"])
    assert there == [first["id"]] == [second["id"]]


@either
async def test_the_same_made_anew_is_no_retry_of_what_was_answered(served: Served, send: Send) -> None:
    agent = await served.agent()
    for headers in (FIRST, AGAIN):
        await send(served, agent["id"], "hi", headers)
    assert len(await made(served, agent["id"])) == 2


@either
async def test_without_a_mark_the_same_can_be_made_twice(served: Served, send: Send) -> None:
    agent = await served.agent()
    for _ in range(2):
        await send(served, agent["id"], "hi")
    assert len(await made(served, agent["id"])) == 2


@either
async def test_key_counts_no_more_when_its_time_is_over(make_server: Serve, send: Send) -> None:
    async with make_server(request_key_hours=1e-9) as served:
        agent = await served.agent()
        for text in ("hi", "something else"):
            assert (await send(served, agent["id"], text, KEY)).is_success
        assert len(await made(served, agent["id"])) == 2


@either
async def test_many_at_the_same_instant_make_one(make_server: Serve, send: Send) -> None:
    async with make_server() as served:
        agent = await served.agent()
        answers = await asyncio.gather(*(send(served, agent["id"], "hi", KEY) for _ in range(5)))
        there = await made(served, agent["id"])
    assert [answer.json()["id"] for answer in answers] == there * 5


@either
async def test_two_servers_at_the_same_instant_make_one(two_servers: Serve, send: Send) -> None:
    async with two_servers() as here, two_servers() as there:
        agent = await here.agent()
        answers = await asyncio.gather(*(send(served, agent["id"], "hi", KEY) for served in (here, there) * 3))
        listed = await made(there, agent["id"])
    assert [answer.json()["id"] for answer in answers] == listed * 6


async def test_key_of_a_schedule_is_its_agents_own(served: Served) -> None:
    agents = [await served.agent(), await served.agent()]
    first, second = [(await schedule(served, agent["id"], "hi", KEY)).json() for agent in agents]
    assert first["id"] != second["id"]
