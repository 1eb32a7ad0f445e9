"""Runs as a whole: cancelled, parked, taken up again, followed by many readers."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson
from tests.serving import Served, serve

from letta.models.protocol import ModelRequest
from letta.models.scripted import Call, Wait


class Gate:
    """A model step that says when it was reached and waits to be let through."""

    def __init__(self, reply: Any = "through") -> None:
        self.reached, self.open, self._reply = asyncio.Event(), asyncio.Event(), reply

    async def __call__(self, request: ModelRequest) -> Any:
        self.reached.set()
        await self.open.wait()
        return self._reply


async def until(check: Callable[[], Awaitable[bool]]) -> None:
    """Ask again and again until it is so; five seconds at most."""
    async with asyncio.timeout(5):
        while not await check():  # noqa: ASYNC110 - there is no event to wait for: the answer comes over HTTP
            await asyncio.sleep(0)


async def run_of(served: Served, agent_id: str) -> dict[str, Any]:
    runs = (await served.http.get("/v1/runs/", params={"agent_id": agent_id})).json()
    newest: dict[str, Any] = runs[0]
    return newest


async def test_cancel_stops_a_model_call_and_the_next_message_works(tmp_path: Path) -> None:
    gate = Gate()
    async with serve(tmp_path, [gate, "fine"]) as served:
        agent = await served.agent()
        sending = asyncio.create_task(served.send(agent["id"], "one"))
        await gate.reached.wait()
        run = await run_of(served, agent["id"])
        cancelled = await served.http.post(f"/v1/agents/{agent['id']}/messages/cancel", json={})
        answer = await sending
        again = await served.send(agent["id"], "two")
        after = (await served.http.get(f"/v1/runs/{run['id']}")).json()
    assert cancelled.json() == {run["id"]: "cancelled"}
    assert (answer["messages"], answer["stop_reason"]["stop_reason"]) == ([], "cancelled")
    assert (after["status"], after["stop_reason"]) == ("cancelled", "cancelled")
    assert again["messages"][0]["content"] == "fine"


async def test_cancel_removes_a_waiting_run_from_the_queue(tmp_path: Path) -> None:
    gate = Gate()
    async with serve(tmp_path, [gate]) as served:
        agent = await served.agent()
        first = asyncio.create_task(served.send(agent["id"], "one"))
        await gate.reached.wait()
        second = (await served.http.post(f"/v1/agents/{agent['id']}/messages/async", json={"input": "two"})).json()
        body = {"run_ids": [second["id"]]}
        cancelled = await served.http.post(f"/v1/agents/{agent['id']}/messages/cancel", json=body)
        gate.open.set()
        answer = await first
        status = (await served.http.get(f"/v1/runs/{second['id']}")).json()["status"]
    assert second["status"] == "created"
    assert cancelled.json() == {second["id"]: "cancelled"}
    assert answer["messages"][0]["content"] == "through"
    assert status == "cancelled"
    assert len(served.model.requests) == 1


async def test_nothing_to_cancel_is_a_conflict_clients_do_not_repeat(served: Served) -> None:
    agent = await served.agent()
    answer = await served.http.post(f"/v1/agents/{agent['id']}/messages/cancel", json={})
    assert (answer.status_code, answer.headers["x-should-retry"]) == (409, "false")


async def test_cancelled_stream_ends_with_its_stop_reason(tmp_path: Path) -> None:
    gate = Gate()
    async with serve(tmp_path, [gate]) as served:
        agent = await served.agent()
        body = {"input": "one", "streaming": True, "include_pings": False}
        sending = asyncio.create_task(served.http.post(f"/v1/agents/{agent['id']}/messages", json=body))
        await gate.reached.wait()
        await served.http.post(f"/v1/agents/{agent['id']}/messages/cancel", json={})
        text = (await sending).text
    assert text == 'data: {"message_type":"stop_reason","stop_reason":"cancelled"}\n\ndata: [DONE]\n\n'


async def test_stopping_server_parks_a_run_and_the_next_start_finishes_it(tmp_path: Path) -> None:
    edit = Call("memory_insert", {"label": "human", "new_string": "Likes tea."})
    gate = Gate()
    async with serve(tmp_path, [edit, gate], shutdown_grace=0.01) as served:
        agent = await served.agent(memory_blocks=[{"label": "human", "value": "Bob"}])
        run = (await served.http.post(f"/v1/agents/{agent['id']}/messages/async", json={"input": "tea"})).json()
        await gate.reached.wait()

    async with serve(tmp_path, ["Done."]) as served:

        async def ended() -> bool:
            return bool((await served.http.get(f"/v1/runs/{run['id']}")).json()["status"] == "completed")

        await until(ended)
        listed = (await served.http.get(f"/v1/runs/{run['id']}/messages")).json()
        block = (await served.http.get(f"/v1/agents/{agent['id']}/core-memory/blocks/human")).json()
        usage = (await served.http.get(f"/v1/runs/{run['id']}/usage")).json()
        steps = (await served.http.get(f"/v1/runs/{run['id']}/steps")).json()
        [request] = served.model.requests
    kinds = [message["message_type"] for message in listed]
    assert kinds == ["user_message", "tool_call_message", "tool_return_message", "assistant_message"]
    assert block["value"] == "Bob\nLikes tea."
    assert [message.role.value for message in request.messages] == ["user", "assistant", "tool"]
    assert len(steps) == 2
    assert usage["total_tokens"] == sum(step["total_tokens"] for step in steps)


async def test_waiting_runs_survive_a_restart_in_order(tmp_path: Path) -> None:
    gate = Gate()
    async with serve(tmp_path, [gate], shutdown_grace=0.01) as served:
        agent = await served.agent()
        runs = [
            (await served.http.post(f"/v1/agents/{agent['id']}/messages/async", json={"input": text})).json()["id"]
            for text in ("one", "two", "three")
        ]
        await gate.reached.wait()

    async with serve(tmp_path, ["1", "2", "3"]) as served:

        async def ended() -> bool:
            answers = [(await served.http.get(f"/v1/runs/{run_id}")).json()["status"] for run_id in runs]
            return answers == ["completed"] * 3

        await until(ended)
        listed = (await served.http.get(f"/v1/agents/{agent['id']}/messages")).json()
    assert [message["content"] for message in listed[1:]] == ["one", "1", "two", "2", "three", "3"]


async def test_background_send_answers_at_once_and_ends_by_itself(served: Served) -> None:
    agent = await served.agent()
    run = (await served.http.post(f"/v1/agents/{agent['id']}/messages/async", json={"input": "hi"})).json()

    async def ended() -> bool:
        return bool((await served.http.get(f"/v1/runs/{run['id']}")).json()["status"] == "completed")

    await until(ended)
    assert (run["status"], run["background"]) in (("created", True), ("running", True))


async def test_deleting_an_agent_stops_its_run(tmp_path: Path) -> None:
    gate = Gate()
    async with serve(tmp_path, [gate]) as served:
        agent = await served.agent()
        sending = asyncio.create_task(served.send(agent["id"], "one"))
        await gate.reached.wait()
        deleted = await served.http.delete(f"/v1/agents/{agent['id']}")
        answer = await sending
        gone = await served.http.get(f"/v1/agents/{agent['id']}")
    assert deleted.status_code == 200
    assert answer["stop_reason"]["stop_reason"] == "cancelled"
    assert gone.status_code == 404


async def test_silent_stream_gets_pings(tmp_path: Path) -> None:
    async with serve(tmp_path, [[Wait(0.1), "through"]], ping_interval=0.005) as served:
        agent = await served.agent()
        body = {"input": "one", "streaming": True}
        text = (await served.http.post(f"/v1/agents/{agent['id']}/messages", json=body)).text
    frames = [orjson.loads(line[6:]) for line in text.split("\n\n")[:-2]]
    kinds = [frame["message_type"] for frame in frames]
    assert kinds[0] == "ping"
    assert frames[0]["run_id"].startswith("run-")
    assert kinds.count("ping") > 1
    assert kinds[-3:] == ["assistant_message", "stop_reason", "usage_statistics"]
