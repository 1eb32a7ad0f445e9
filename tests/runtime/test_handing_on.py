"""A server that only accepts, and another one that executes, on one PostgreSQL: clients of the first notice nothing."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest
from tests.runtime.test_runner import Gate, until
from tests.serving import Served, serve
from tests.store.conftest import _empty, postgres_url

from letta.models.scripted import Call
from letta.store.database import open_database

__all__ = ["postgres_url"]


class Pair(NamedTuple):
    """`front` accepts and answers, `back` executes."""

    front: Served
    back: Served


@pytest.fixture
async def pair(tmp_path: Path, postgres_url: str) -> AsyncIterator[Pair]:
    database = await open_database(postgres_url)
    await database.write(_empty)
    await database.close()
    shared: dict[str, Any] = {"database_url": postgres_url, "encryption_key": "one for all"}
    async with (
        serve(tmp_path / "front", execute=False, **shared) as front,
        serve(tmp_path / "back", **shared) as back,
    ):
        yield Pair(front, back)


async def status(served: Served, agent_id: str) -> list[str]:
    found = (await served.http.get("/v1/runs", params={"agent_id": agent_id, "order": "asc"})).json()
    return [run["status"] for run in found]


async def test_blocking_answers_come_from_the_other_server(pair: Pair) -> None:
    agent = await pair.front.agent()
    answer = await pair.front.send(agent["id"], "echo here")
    assert [message["content"] for message in answer["messages"]] == ["here"]
    assert (len(pair.front.model.requests), len(pair.back.model.requests)) == (0, 1)


async def test_streams_are_whole_and_end(pair: Pair) -> None:
    agent = await pair.front.agent()
    body = {"input": "echo one two three", "streaming": True, "stream_tokens": True}
    answer = await pair.front.http.post(f"/v1/agents/{agent['id']}/messages", json=body)
    frames = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: ")]
    parts = [orjson.loads(frame) for frame in frames[:-1]]
    said = "".join(part["content"] for part in parts if part["message_type"] == "assistant_message")
    assert (said, frames[-1]) == ("one two three", "[DONE]")
    assert [part["message_type"] for part in parts][-2:] == ["stop_reason", "usage_statistics"]


async def test_busy_policies_hold(pair: Pair) -> None:
    gates = [Gate(), Gate()]
    pair.back.model.play([gates[0], "two", gates[1], "four"])
    agent = await pair.front.agent()
    first = asyncio.create_task(pair.front.send(agent["id"], "one"))
    await gates[0].reached.wait()
    refused = await pair.front.http.post(
        f"/v1/agents/{agent['id']}/messages", json={"input": "no", "busy_policy": "reject"}
    )
    waits = asyncio.create_task(pair.front.send(agent["id"], "two"))
    await until(lambda: _has(pair.front, agent["id"], ["running", "created"]))
    gates[0].open.set()
    answers = [(await first)["messages"][0]["content"], (await waits)["messages"][0]["content"]]
    third = asyncio.create_task(pair.front.send(agent["id"], "three"))
    await gates[1].reached.wait()
    fourth = await pair.front.send(agent["id"], "four", busy_policy="interrupt")
    assert refused.status_code == 409
    assert answers == ["through", "two"]
    assert (await third)["stop_reason"]["stop_reason"] == "cancelled"
    assert fourth["messages"][0]["content"] == "four"
    assert await status(pair.front, agent["id"]) == ["completed", "completed", "cancelled", "completed"]


async def test_a_run_is_cancelled_through_the_server_that_does_not_execute_it(pair: Pair) -> None:
    gate = Gate()
    pair.back.model.play([gate])
    agent = await pair.front.agent()
    sending = asyncio.create_task(pair.front.send(agent["id"], "one"))
    await gate.reached.wait()
    waits = (await pair.front.http.post(f"/v1/agents/{agent['id']}/messages/async", json={"input": "two"})).json()
    answer = await pair.front.http.post(f"/v1/agents/{agent['id']}/messages/cancel", json={})
    assert sorted(answer.json().values()) == ["cancelled", "cancelled"]
    assert (await sending)["stop_reason"]["stop_reason"] == "cancelled"
    assert (await pair.front.http.get(f"/v1/runs/{waits['id']}")).json()["status"] == "cancelled"


async def test_approvals_are_asked_and_answered_through_it(pair: Pair) -> None:
    pair.back.model.play([Call("memory_insert", {"label": "human", "new_string": "Ada"}), "Noted."])
    agent = await pair.front.agent(memory_blocks=[{"label": "human", "value": ""}])
    path = f"/v1/agents/{agent['id']}"
    await pair.front.http.patch(f"{path}/tools/approval/memory_insert", json={"requires_approval": True})
    asked = await pair.front.send(agent["id"], "I am Ada.")
    call = asked["messages"][-1]["tool_call"]["tool_call_id"]
    decision = {"type": "approval", "approvals": [{"type": "approval", "tool_call_id": call, "approve": True}]}
    answer = (await pair.front.http.post(f"{path}/messages", json={"messages": [decision]})).json()
    block = (await pair.front.http.get(f"{path}/core-memory/blocks/human")).json()
    assert asked["stop_reason"]["stop_reason"] == "requires_approval"
    assert answer["messages"][-1]["content"] == "Noted."
    assert block["value"] == "Ada"


async def test_agents_ask_each_other(pair: Pair) -> None:
    asked = await pair.front.agent(name="Bo")
    call = Call("send_message_to_agent_and_wait_for_reply", {"message": "echo hi", "other_agent_id": asked["id"]})
    pair.back.model.play([call, "I am Bo.", "Bo said so."])
    agent = await pair.front.agent(name="Ada", tools=[call.name])
    answer = await pair.front.send(agent["id"], "ask Bo")
    returned = [m["tool_return"] for m in answer["messages"] if m["message_type"] == "tool_return_message"]
    assert "I am Bo." in returned[0]
    assert answer["messages"][-1]["content"] == "Bo said so."


async def test_a_batch_and_a_conversation_are_handed_on_too(pair: Pair) -> None:
    agent = await pair.front.agent()
    made = (await pair.front.http.post("/v1/conversations", params={"agent_id": agent["id"]}, json={})).json()
    said = await pair.front.http.post(
        f"/v1/conversations/{made['id']}/messages", json={"input": "echo aside", "streaming": False}
    )
    request = {"agent_id": agent["id"], "input": "echo batched"}
    batch = (await pair.front.http.post("/v1/messages/batches", json={"requests": [request]})).json()
    await until(lambda: _has(pair.front, agent["id"], ["completed", "completed"]))
    found = (await pair.front.http.get(f"/v1/messages/batches/{batch['id']}")).json()
    assert said.json()["messages"][0]["content"] == "aside"
    assert found["status"] == "completed"
    assert len(pair.front.model.requests) == 0


async def _has(served: Served, agent_id: str, expected: list[str]) -> bool:
    return await status(served, agent_id) == expected
