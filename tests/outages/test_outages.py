"""The database is full or gone, a lease runs out too early, a provider hangs: clear errors, and nothing is lost."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, update
from tests.arrival.conftest import Gate, Serve
from tests.outages.conftest import Cable
from tests.serving import Served, serve

from letta.models.scripted import Call
from letta.store.query import now
from letta.store.tables import runs

HUMAN = [{"label": "human", "value": "Bob"}]


async def until(check: Callable[[], Awaitable[Any]], seconds: float = 40) -> Any:
    """The first answer that is true, asked for again and again."""
    async with asyncio.timeout(seconds):
        while not (found := await check()):  # noqa: ASYNC110 - there is no event to wait for: the answer comes over HTTP
            await asyncio.sleep(0.02)
    return found


async def texts(served: Served, agent_id: str) -> list[str]:
    """What was said, the oldest first."""
    listed = (await served.http.get(f"/v1/agents/{agent_id}/messages")).json()
    return [m["content"] for m in listed if m["message_type"] in ("user_message", "assistant_message")]


def _pages(connection: Connection, more: int | None) -> None:
    """Let the database grow by so many pages and no further."""
    held = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
    most = 2**31 if more is None else held + more
    connection.exec_driver_sql(f"PRAGMA max_page_count = {most}")


async def _limit(served: Served, more: int | None) -> None:
    await served.parts.database.write(_pages, more)


async def test_full_disk_is_said_and_the_next_message_works_when_there_is_room(served: Served) -> None:
    agent = await served.agent(memory_blocks=HUMAN)
    await _limit(served, 0)
    body = {"input": "echo " + "x" * 100_000}
    refused = await served.http.post(f"/v1/agents/{agent['id']}/messages", json=body)
    await _limit(served, None)
    answer = await served.send(agent["id"], "echo there is room")
    assert (refused.status_code, "disk" in refused.json()["detail"]) == (503, True)
    assert answer["messages"][-1]["content"] == "there is room"
    assert await texts(served, agent["id"]) == ["echo there is room", "there is room"]


async def test_disk_that_fills_up_during_a_step_delays_its_run_and_loses_nothing(tmp_path: Path) -> None:
    gate = Gate(Call("memory_insert", {"label": "human", "new_string": "y" * 12_000}))
    blocks = [{"label": "human", "value": "Bob", "limit": 1_000_000}]
    async with serve(tmp_path, [gate, gate._reply, "Noted."]) as served:
        agent = await served.agent(memory_blocks=blocks)
        body = {"input": "remember this"}
        run = (await served.http.post(f"/v1/agents/{agent['id']}/messages/async", json=body)).json()
        await gate.reached.wait()
        await _limit(served, 0)
        gate.open.set()
        await until(lambda: _is_left(served, run["id"]))
        await _limit(served, None)
        await until(lambda: _has_ended(served, run["id"]))
        said = await texts(served, agent["id"])
        block = (await served.http.get(f"/v1/agents/{agent['id']}/core-memory/blocks/human")).json()
    assert said == ["remember this", "Noted."]
    assert block["value"] == "Bob\n" + "y" * 12_000


async def _is_left(served: Served, run_id: str) -> bool:
    return served.parts.runner.get(run_id) is None


async def _has_ended(served: Served, run_id: str) -> bool:
    return bool((await served.http.get(f"/v1/runs/{run_id}")).json()["status"] == "completed")


async def test_database_that_is_gone_for_a_while_is_found_again(tmp_path: Path, cable: Cable) -> None:
    url = f"postgresql://postgres@127.0.0.1:{cable.port}/postgres"
    gate = Gate("late")
    async with serve(tmp_path, ["early", gate, "again", "after"], database_url=url) as served:
        agent = await served.agent()
        path = f"/v1/agents/{agent['id']}"
        await served.send(agent["id"], "one")
        run = (await served.http.post(f"{path}/messages/async", json={"input": "two"})).json()
        await gate.reached.wait()
        cable.cut()
        gate.open.set()
        refused = [await served.http.get(path), await served.http.post(f"{path}/messages", json={"input": "three"})]
        ready = await served.http.get("/v1/ready")
        await until(lambda: _is_left(served, run["id"]))
        cable.mend()
        await until(lambda: _answers(served, path))
        await until(lambda: _has_ended(served, run["id"]))
        await served.send(agent["id"], "four")
        said = await texts(served, agent["id"])
    assert [answer.status_code for answer in refused] == [503, 503]
    assert all("database" in answer.json()["detail"] for answer in refused)
    assert ready.status_code == 503
    assert said == ["one", "early", "two", "again", "four", "after"]


async def _answers(served: Served, path: str) -> bool:
    return (await served.http.get(path)).status_code == 200


async def test_lease_that_seems_to_have_run_out_lets_only_one_server_write(two_servers: Serve) -> None:
    """What a clock that jumps does: another server believes that this one is gone."""
    here_gate, there_gate = Gate("from here"), Gate("from there")
    async with two_servers(here_gate) as here, two_servers(there_gate) as there:
        agent = await here.agent()
        run = (await here.http.post(f"/v1/agents/{agent['id']}/messages/async", json={"input": "one"})).json()
        await here_gate.reached.wait()
        await until(lambda: _seems_lost(here, run["id"], there_gate))
        here_gate.open.set()
        await until(lambda: _is_left(here, run["id"]))
        there_gate.open.set()
        await until(lambda: _has_ended(there, run["id"]))
        said = await texts(there, agent["id"])
        goes_on = await there.send(agent["id"], "echo two")
    assert said == ["one", "from there"]
    assert goes_on["messages"][-1]["content"] == "two"


async def _seems_lost(here: Served, run_id: str, there: Gate) -> bool:
    await here.parts.database.write(_expire, run_id)
    return there.reached.is_set()


def _expire(connection: Connection, run_id: str) -> None:
    connection.execute(update(runs).where(runs.c.id == run_id).values(lease_until=now() - timedelta(hours=1)))


async def test_clock_that_jumps_back_keeps_messages_in_their_order(served: Served, monkeypatch: Any) -> None:
    agent = await served.agent()
    await served.send(agent["id"], "echo one")
    before = now() - timedelta(hours=3)
    # The clock itself is what is at fault here.
    for name in ("letta.runtime.commit", "letta.runtime.loop", "letta.store.conversations"):
        monkeypatch.setattr(f"{name}.now", lambda: before)
    await served.send(agent["id"], "echo two")
    monkeypatch.undo()
    await served.send(agent["id"], "echo three")
    assert await texts(served, agent["id"]) == ["echo one", "one", "echo two", "two", "echo three", "three"]


async def test_provider_that_hangs_is_given_up_and_others_do_not_wait(tmp_path: Path) -> None:
    never = asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await never.wait()
        writer.close()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    environment = {"OPENAI_API_KEY": "none", "OPENAI_BASE_URL": url}
    async with serve(tmp_path, environment=environment, scripted_models=False, model_timeout=1.0) as served:
        stuck = await served.agent(model="openai/gpt-4o-mini")
        quick = await served.agent()
        waiting = asyncio.create_task(
            served.http.post(f"/v1/agents/{stuck['id']}/messages", json={"input": "hello"}, timeout=60)
        )
        answer = await served.send(quick["id"], "echo meanwhile")
        runs_ = (await served.http.get("/v1/runs", params={"agent_id": stuck["id"], "active": True})).json()
        cancelled = await served.http.post(f"/v1/agents/{stuck['id']}/messages/cancel")
        await waiting
        failed = await served.http.post(f"/v1/agents/{stuck['id']}/messages", json={"input": "again"}, timeout=60)
    never.set()
    server.close()
    assert answer["messages"][-1]["content"] == "meanwhile"
    assert len(runs_) == 1
    assert cancelled.json() == {runs_[0]["id"]: "cancelled"}
    assert failed.status_code == 504, failed.text


async def test_run_that_never_gets_through_is_given_up(tmp_path: Path) -> None:
    gate = Gate()
    async with serve(tmp_path, [gate], shutdown_grace=0.1) as served:
        agent = await served.agent()
        run = (await served.http.post(f"/v1/agents/{agent['id']}/messages/async", json={"input": "one"})).json()
        await gate.reached.wait()
        await served.parts.database.write(_tire, run["id"])
    async with serve(tmp_path, ["two it is"]) as served:
        await until(lambda: _has_failed(served, run["id"]))
        ended = (await served.http.get(f"/v1/runs/{run['id']}")).json()
        answer = await served.send(agent["id"], "two")
    assert ended["metadata"]["error"]["type"] == "interrupted_too_often"
    assert answer["messages"][-1]["content"] == "two it is"


def _tire(connection: Connection, run_id: str) -> None:
    connection.execute(update(runs).where(runs.c.id == run_id).values(attempt=20))


async def _has_failed(served: Served, run_id: str) -> bool:
    return bool((await served.http.get(f"/v1/runs/{run_id}")).json()["status"] == "failed")
