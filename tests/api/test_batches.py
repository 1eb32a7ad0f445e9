"""Batches over HTTP: all requests or none, worked on in the background, followed and stopped as one."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.runtime.test_runner import Gate, until
from tests.serving import Served, serve

from letta.models.scripted import Call
from letta.store import batches

BATCHES = "/v1/messages/batches"


async def create(served: Served, *requests: dict[str, Any]) -> dict[str, Any]:
    answer = await served.http.post(BATCHES, json={"requests": list(requests)})
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def ended(served: Served, batch_id: str) -> dict[str, Any]:
    found: dict[str, Any] = {}

    async def has_ended() -> bool:
        found.update((await served.http.get(f"{BATCHES}/{batch_id}")).json())
        return found["status"] not in ("created", "running")

    await until(has_ended)
    return found


async def test_a_batch_is_worked_on_and_its_messages_are_listed(tmp_path: Path) -> None:
    script = [Call("memory_insert", {"label": "human", "new_string": "Ada"}), "Noted."]
    async with serve(tmp_path, script) as served:
        blocks = [{"label": "human", "value": ""}]
        agent = await served.agent(memory_blocks=blocks)
        made = await create(served, {"agent_id": agent["id"], "input": "I am Ada."})
        batch = await ended(served, made["id"])
        listed = (await served.http.get(BATCHES)).json()
        [run_id] = batch["metadata"]["run_ids"]
        run = (await served.http.get(f"/v1/runs/{run_id}")).json()
        said = (await served.http.get(f"{BATCHES}/{made['id']}/messages", params={"order": "asc"})).json()["messages"]
        others = (await served.http.get(f"{BATCHES}/{made['id']}/messages", params={"agent_id": "agent-x"})).json()
    assert (made["status"], made["job_type"], made["metadata"]["runs"]) == ("created", "batch", {"created": 1})
    assert batch["metadata"] == {"requests": 1, "runs": {"completed": 1}, "run_ids": [run_id]}
    assert (batch["status"], batch["completed_at"]) == ("completed", run["completed_at"])
    assert [one["id"] for one in listed] == [made["id"]]
    assert "run_ids" not in listed[0]["metadata"]
    assert (run["background"], run["metadata"]) == (True, {"run_type": "batch", "batch_id": made["id"]})
    assert [one["role"] for one in said] == ["assistant", "tool", "assistant"]
    [call] = said[0]["tool_calls"]
    assert call["function"]["name"] == "memory_insert"
    assert (said[1]["tool_call_id"], said[1]["tool_returns"][0]["status"]) == (call["id"], "success")
    assert said[2]["content"] == [{"type": "text", "text": "Noted.", "signature": None}]
    assert others == {"messages": []}


async def test_requests_for_one_agent_keep_their_order_and_agents_do_not_wait_for_each_other(tmp_path: Path) -> None:
    gate = Gate("first")
    async with serve(tmp_path, [gate]) as served:
        slow, quick = await served.agent(), await served.agent()
        made = await create(
            served,
            {"agent_id": slow["id"], "input": "one"},
            {"agent_id": slow["id"], "input": "two"},
            {"agent_id": quick["id"], "input": "three"},
        )
        await gate.reached.wait()

        async def quick_is_done() -> bool:
            found = (await served.http.get(f"{BATCHES}/{made['id']}")).json()
            return bool(found["metadata"]["runs"].get("completed") == 1)

        await until(quick_is_done)
        between = (await served.http.get(f"{BATCHES}/{made['id']}")).json()
        gate.open.set()
        batch = await ended(served, made["id"])
        said = (await served.http.get(f"/v1/agents/{slow['id']}/messages")).json()
    assert (between["status"], between["metadata"]["runs"]) == ("running", {"completed": 1, "created": 1, "running": 1})
    assert (batch["status"], batch["metadata"]["runs"]) == ("completed", {"completed": 3})
    asked = [one["content"] for one in said if one["message_type"] == "user_message"]
    assert asked == ["one", "two"]


async def test_no_more_runs_are_worked_on_at_once_than_there_are_places(tmp_path: Path) -> None:
    gates = [Gate() for _ in range(4)]
    async with serve(tmp_path, gates, queue_slots=2) as served:
        agents = [await served.agent() for _ in gates]
        made = await create(served, *({"agent_id": agent["id"], "input": "go"} for agent in agents))
        await asyncio.gather(*(gate.reached.wait() for gate in gates[:2]))
        between = (await served.http.get(f"{BATCHES}/{made['id']}")).json()
        for gate in gates:
            gate.open.set()
        batch = await ended(served, made["id"])
    assert between["metadata"]["runs"] == {"created": 2, "running": 2}
    assert batch["metadata"]["runs"] == {"completed": 4}


async def test_a_cancelled_batch_stops_what_runs_and_what_waits(tmp_path: Path) -> None:
    gate = Gate()
    async with serve(tmp_path, [gate], queue_slots=1) as served:
        agents = [await served.agent() for _ in range(3)]
        made = await create(served, *({"agent_id": agent["id"], "input": "go"} for agent in agents))
        await gate.reached.wait()
        cancelled = await served.http.patch(f"{BATCHES}/{made['id']}/cancel")
        again = await served.http.patch(f"{BATCHES}/{made['id']}/cancel")
        after = await served.send(agents[2]["id"], "still there?")
    assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")
    assert cancelled.json()["metadata"]["runs"] == {"cancelled": 3}
    assert again.json() == cancelled.json()
    assert after["stop_reason"]["stop_reason"] == "end_turn"


async def test_a_batch_that_waited_through_a_restart_is_worked_on(tmp_path: Path) -> None:
    gate = Gate()
    async with serve(tmp_path, [gate], queue_slots=1, shutdown_grace=0.0) as served:
        agents = [await served.agent() for _ in range(3)]
        made = await create(served, *({"agent_id": agent["id"], "input": "go"} for agent in agents))
        await gate.reached.wait()
    async with serve(tmp_path) as served:
        batch = await ended(served, made["id"])
    assert (batch["status"], batch["metadata"]["runs"]) == ("completed", {"completed": 3})


async def test_one_bad_request_refuses_the_batch_and_is_named(served: Served) -> None:
    agent, gone = await served.agent(), await served.agent()
    await served.http.delete(f"/v1/agents/{gone['id']}")
    good = {"agent_id": agent["id"], "input": "hello"}
    answer = await served.http.post(BATCHES, json={"requests": [good, {"agent_id": gone["id"], "input": "hello"}]})
    runs = (await served.http.get("/v1/runs", params={"agent_id": agent["id"]})).json()
    assert (answer.status_code, "requests[1]" in answer.text) == (404, True)
    assert (runs, (await served.http.get(BATCHES)).json()) == ([], [])


@pytest.mark.parametrize(
    ("requests", "status", "named"),
    [
        ([], 422, "requests"),
        ([{"agent_id": "bob", "input": "hello"}], 422, "agent_id"),
        ([{"input": "hello"}], 422, "agent_id"),
        ([{"agent_id": "agent-00000000-0000-4000-8000-000000000000"}], 422, "messages"),
        ([{"agent_id": "agent-00000000-0000-4000-8000-000000000000", "input": "x"}] * 1001, 422, "1000"),
        ([{"agent_id": "agent-00000000-0000-4000-8000-000000000000", "input": "x", "top_logprobs": 1}], 501, "top_log"),
    ],
    ids=["none", "no id", "no agent", "no message", "too many", "not built"],
)
async def test_batches_that_make_no_sense_are_refused(
    served: Served, requests: list[dict[str, Any]], status: int, named: str
) -> None:
    answer = await served.http.post(BATCHES, json={"requests": requests})
    assert (answer.status_code, named in answer.text) == (status, True), answer.text


async def test_a_batch_whose_agents_are_gone_has_expired(served: Served) -> None:
    agent = await served.agent()
    made = await create(served, {"agent_id": agent["id"], "input": "hello"})
    await ended(served, made["id"])
    await served.http.delete(f"/v1/agents/{agent['id']}")
    batch = (await served.http.get(f"{BATCHES}/{made['id']}")).json()
    assert (batch["status"], batch["metadata"]) == ("expired", {"requests": 1, "runs": {}, "run_ids": []})


async def test_a_batch_is_a_job_of_older_sdks(served: Served) -> None:
    agent = await served.agent()
    made = await create(served, {"agent_id": agent["id"], "input": "hello"})
    batch = await ended(served, made["id"])
    shown = await served.http.get(f"/v1/jobs/{made['id']}")
    late = await served.http.patch(f"/v1/jobs/{made['id']}/cancel")
    assert shown.json() == batch
    assert (late.status_code, "nothing to cancel" in late.text) == (409, True)


async def test_unknown_batches_are_not_found(served: Served) -> None:
    path = f"{BATCHES}/job-00000000-0000-4000-8000-000000000000"
    answers = [
        await served.http.get(path),
        await served.http.patch(f"{path}/cancel"),
        await served.http.get(f"{path}/messages"),
    ]
    assert [answer.status_code for answer in answers] == [404, 404, 404]


@asynccontextmanager
async def listening() -> AsyncIterator[tuple[str, asyncio.Queue[dict[str, Any]]]]:
    """A server that keeps the bodies it is sent, and answers 204."""
    bodies: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.partition("content-length:")[2].split("\r\n")[0])
        bodies.put_nowait(json.loads(await reader.readexactly(length)))
        writer.write(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/ended", bodies


async def test_the_end_of_a_batch_is_told_once(served: Served) -> None:
    agents = [await served.agent() for _ in range(2)]
    async with listening() as (url, bodies):
        requests = [{"agent_id": agent["id"], "input": "hello"} for agent in agents]
        made = (await served.http.post(BATCHES, json={"requests": requests, "callback_url": url})).json()
        async with asyncio.timeout(20):
            told = await bodies.get()

        async def recorded() -> bool:
            return bool((await served.http.get(f"{BATCHES}/{made['id']}")).json()["callback_sent_at"])

        await until(recorded)
        batch = (await served.http.get(f"{BATCHES}/{made['id']}")).json()
        again = await served.parts.database.write(batches.take_ended, 10, timedelta(0))
    assert told == {"job_id": made["id"], "status": "completed", "completed_at": batch["completed_at"]}
    assert (batch["callback_url"], batch["callback_status_code"], batch["callback_error"]) == (url, 204, None)
    assert (again, bodies.empty()) == ([], True)


async def test_a_callback_to_a_private_address_is_refused_where_those_are(tmp_path: Path) -> None:
    async with serve(tmp_path, allow_private_urls=False) as served:
        agent = await served.agent()
        body = {"requests": [{"agent_id": agent["id"], "input": "hello"}], "callback_url": "http://127.0.0.1:9/"}
        answer = await served.http.post(BATCHES, json=body)
        listed = (await served.http.get(BATCHES)).json()
    assert (answer.status_code, "callback_url" in answer.text, listed) == (422, True, [])
