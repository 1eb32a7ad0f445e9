"""The database is full or gone, a lease runs out too early, a provider hangs: clear errors, and nothing is lost."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, update
from tests.arrival.conftest import Gate, Serve
from tests.outages.conftest import Cable
from tests.serving import Served, serve

from letta.errors import ModelServerError, StoreUnavailable
from letta.models.scripted import Call
from letta.store.access import Database
from letta.store.database import open_database
from letta.store.query import now
from letta.store.tables import runs

HUMAN = [{"label": "human", "value": "Bob"}]
ROOMY = [{"label": "human", "value": "Bob", "limit": 1_000_000}]
BIG = Call("memory_insert", {"label": "human", "new_string": "y" * 12_000})
"""More than a disk that is full takes."""


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
    gate = Gate(BIG)
    async with serve(tmp_path, [gate, BIG, "Noted."]) as served:
        agent = await served.agent(memory_blocks=ROOMY)
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


@pytest.mark.parametrize("streaming", [False, True])
async def test_who_waits_for_a_run_that_cannot_be_stored_is_told_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, streaming: bool
) -> None:
    monkeypatch.setattr("letta.runtime.following._LEFT", 0.5)
    gate = Gate(BIG)
    async with serve(tmp_path, [gate, BIG, "Noted."]) as served:
        agent = await served.agent(memory_blocks=ROOMY)
        path = f"/v1/agents/{agent['id']}/messages"
        body = {"input": "remember this", "streaming": streaming}
        waiting = asyncio.create_task(served.http.post(path, json=body))
        await gate.reached.wait()
        [run] = (await served.http.get("/v1/runs/", params={"agent_id": agent["id"]})).json()
        await _limit(served, 0)
        gate.open.set()
        answer = await waiting
        ready = await served.http.get("/v1/ready")
        await _limit(served, None)
        await until(lambda: _has_ended(served, run["id"]))
        ready_again = await served.http.get("/v1/ready")
        said = await texts(served, agent["id"])
    reason = (
        f"run {run['id']} could not be stored and goes on by itself when it can be: "
        "The disk that holds the database is full."
    )
    if streaming:
        stop, error, end = answer.text.split("\n\n")[-4:-1]
        assert '"stop_reason":"error"' in stop
        assert error.startswith("event: error\n")
        assert (reason in error, run["id"] in error, end) == (True, True, "data: [DONE]")
    else:
        assert (answer.status_code, answer.json()["detail"]) == (503, reason)
    assert (ready.status_code, ready.json()["reasons"]) == (503, ["the disk that holds the database is full"])
    assert ready_again.status_code == 200
    assert said == ["remember this", "Noted."]


async def _sent(served: Served, agent_id: str, text: str) -> dict[str, Any]:
    """The run of a message that nobody waits for."""
    answer = await served.http.post(f"/v1/agents/{agent_id}/messages/async", json={"input": text})
    assert answer.status_code == 200, answer.text
    run: dict[str, Any] = answer.json()
    return run


async def _all_end(served: Served, *runs: dict[str, Any]) -> None:
    for run in runs:
        await until(partial(_has_ended, served, run["id"]))


async def _is_left(served: Served, run_id: str) -> bool:
    return served.parts.runner.get(run_id) is None


async def _has_ended(served: Served, run_id: str) -> bool:
    return bool((await served.http.get(f"/v1/runs/{run_id}")).json()["status"] == "completed")


async def test_database_that_is_gone_for_a_while_is_found_again(tmp_path: Path, cable: Cable) -> None:
    gate = Gate("late")
    async with serve(tmp_path, ["early", gate, "again", "after"], database_url=cable.url) as served:
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


@pytest.mark.parametrize("late", ["from here", ModelServerError("broken")])
async def test_lease_that_seems_to_have_run_out_lets_only_one_server_write(two_servers: Serve, late: Any) -> None:
    """What a clock that jumps does: another server believes that this one is gone."""
    here_gate, there_gate = Gate(late), Gate("from there")
    async with two_servers(here_gate) as here, two_servers(there_gate) as there:
        agent = await here.agent()
        run = (await here.http.post(f"/v1/agents/{agent['id']}/messages/async", json={"input": "one"})).json()
        await here_gate.reached.wait()
        watching = asyncio.create_task(here.http.post(f"/v1/runs/{run['id']}/stream"))
        await until(lambda: _seems_lost(here, run["id"], there_gate))
        here_gate.open.set()
        await until(lambda: _is_left(here, run["id"]))
        there_gate.open.set()
        await until(lambda: _has_ended(there, run["id"]))
        seen = (await watching).text
        said = await texts(there, agent["id"])
        goes_on = await there.send(agent["id"], "echo two")
    assert said == ["one", "from there"]
    assert ("from there" in seen, "error" in seen) == (True, False)
    assert goes_on["messages"][-1]["content"] == "two"


async def _seems_lost(here: Served, run_id: str, there: Gate) -> bool:
    await here.parts.database.write(_expire, run_id)
    return there.reached.is_set()


def _expire(connection: Connection, run_id: str) -> None:
    connection.execute(update(runs).where(runs.c.id == run_id).values(lease_until=now() - timedelta(hours=1)))


async def test_run_whose_server_is_gone_is_not_held_up_by_a_newer_message(two_servers: Serve) -> None:
    gone = Gate("never said")
    async with two_servers("one again", "two") as there, two_servers(gone) as here:
        agent = await here.agent()
        first = (await here.http.post(f"/v1/agents/{agent['id']}/messages/async", json={"input": "one"})).json()
        await gone.reached.wait()
        body = {"input": "second"}
        second = (await there.http.post(f"/v1/agents/{agent['id']}/messages/async", json=body)).json()
        await until(lambda: _is_worked_on(there, second["id"]))
        await here.parts.database.write(_desert, first["id"])
        await _all_end(there, first, second)
        said = await texts(there, agent["id"])
        gone.open.set()
    assert said == ["one", "one again", "second", "two"]


async def test_run_of_a_stopped_server_is_not_held_up_by_a_newer_message(two_servers: Serve) -> None:
    gone = Gate("never said")
    async with two_servers("one again", "two") as there:
        async with two_servers(gone, shutdown_grace=0.01) as here:
            agent = await here.agent()
            path = f"/v1/agents/{agent['id']}/messages/async"
            first = (await here.http.post(path, json={"input": "one"})).json()
            await gone.reached.wait()
            second = (await there.http.post(path, json={"input": "second"})).json()
            await until(lambda: _is_worked_on(there, second["id"]))
        await _all_end(there, first, second)
        said = await texts(there, agent["id"])
    assert said == ["one", "one again", "second", "two"]


async def _is_worked_on(served: Served, run_id: str) -> bool:
    return served.parts.runner.get(run_id) is not None


def _desert(connection: Connection, run_id: str) -> None:
    """Let a run have an owner that is gone."""
    values = {"lease_until": now() - timedelta(hours=1), "owner": "nobody"}
    connection.execute(update(runs).where(runs.c.id == run_id).values(values))


async def test_full_disk_holds_up_no_run_for_good(tmp_path: Path) -> None:
    gate = Gate(BIG)
    async with serve(tmp_path, [gate, BIG, "Noted.", "second"]) as served:
        agent = await served.agent(memory_blocks=ROOMY)
        run = await _sent(served, agent["id"], "remember this")
        await gate.reached.wait()
        behind = await _sent(served, agent["id"], "echo second")
        await _limit(served, 0)
        gate.open.set()
        await until(lambda: _is_left(served, run["id"]))
        await _limit(served, None)
        await _all_end(served, run, behind)
        said = await texts(served, agent["id"])
    assert said == ["remember this", "Noted.", "echo second", "second"]


async def test_message_right_after_the_database_is_back_holds_up_nobody(tmp_path: Path, cable: Cable) -> None:
    gate = Gate("late")
    async with serve(tmp_path, [gate, "again", "second"], database_url=cable.url) as served:
        agent = await served.agent()
        path = f"/v1/agents/{agent['id']}"
        run = await _sent(served, agent["id"], "one")
        await gate.reached.wait()
        cable.cut()
        gate.open.set()
        await until(lambda: _is_left(served, run["id"]))
        cable.mend()
        await until(lambda: _answers(served, path))
        behind = await _sent(served, agent["id"], "two")
        await _all_end(served, run, behind)
        said = await texts(served, agent["id"])
    assert said == ["one", "again", "two", "second"]


async def test_connections_that_go_silent_are_given_up(tmp_path: Path, cable: Cable) -> None:
    """What a failover or a router that forgets does: nothing arrives any more, and nobody says so."""
    gate = Gate("late")
    async with serve(tmp_path, [gate, "again", "second"], database_url=cable.url, database_patience=2) as served:
        agent = await served.agent()
        path = f"/v1/agents/{agent['id']}"
        run = await _sent(served, agent["id"], "one")
        await gate.reached.wait()
        cable.silence()
        gate.open.set()
        answer = await served.http.get(path)
        await until(lambda: _has_ended(served, run["id"]))
        await served.send(agent["id"], "two")
        said = await texts(served, agent["id"])
        await until(lambda: _hears(served))
    assert answer.status_code == 200
    assert said in (["one", "late", "two", "again"], ["one", "again", "two", "second"])


async def _hears(served: Served) -> bool:
    return served.parts.notices.reach


async def test_statement_under_way_when_its_connection_goes_silent_is_given_up(postgres_url: str, cable: Cable) -> None:
    database = await open_database(cable.url, patience=2)
    sleeping = asyncio.create_task(database.write(_sleep))
    await until(lambda: _in_use(database))
    cable.silence()
    with pytest.raises(StoreUnavailable):
        await sleeping
    assert await database.write(_one) == 1
    await database.close()


async def _in_use(database: Database) -> bool:
    return database.connections().in_use > 0


def _sleep(connection: Connection) -> None:
    connection.exec_driver_sql("SELECT pg_sleep(3600)")


def _one(connection: Connection) -> int:
    return int(connection.exec_driver_sql("SELECT 1").scalar_one())


async def test_database_that_hangs_is_not_a_failure_of_those_that_wait_for_a_connection(postgres_url: str) -> None:
    database = await open_database(postgres_url, pool=1, patience=2)
    answers = await asyncio.gather(*(database.write(_sleep) for _ in range(8)), return_exceptions=True)
    again = await asyncio.gather(*(database.read(_sleep) for _ in range(8)), return_exceptions=True)
    assert [type(answer) for answer in (*answers, *again)] == [StoreUnavailable] * 16
    assert await database.write(_one) == 1
    await database.close()


AHEAD: ContextVar[timedelta] = ContextVar("how far the clock of a server is ahead", default=timedelta(0))


async def test_server_whose_clock_is_ahead_takes_no_run_that_is_worked_on(
    two_servers: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The clock itself is what is at fault here: every module's, for one server.
    for name, module in list(sys.modules.items()):
        if name.startswith("letta.") and getattr(module, "now", None) is now:
            monkeypatch.setattr(module, "now", lambda: now() + AHEAD.get())
    gate = Gate("from here")
    async with two_servers(gate) as here:
        agent = await here.agent()
        run = (await here.http.post(f"/v1/agents/{agent['id']}/messages/async", json={"input": "one"})).json()
        await gate.reached.wait()
        AHEAD.set(timedelta(seconds=60))
        async with two_servers("stolen") as there:
            # It looks for runs that nobody works on before it serves, and with every beat of its heart.
            await there.parts.runner._take_up()
            assert there.parts.runner.get(run["id"]) is None
            AHEAD.set(timedelta(0))
            gate.open.set()
            await until(lambda: _has_ended(here, run["id"]))
            said = await texts(here, agent["id"])
    assert said == ["one", "from here"]


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
