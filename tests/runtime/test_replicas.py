"""Two replicas on one PostgreSQL: a run is followed, cancelled and finished from the other one."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import orjson
import pytest
from sqlalchemy import Connection, text
from tests.api.test_streams import frames
from tests.arrival.conftest import Gate, Serve, postgres_url, two_servers
from tests.cli.process import Process, server
from tests.serving import Served
from tests.store.seeds import START

from letta.models.scripted import Call, Wait
from letta.runtime import runner
from letta.runtime.events import Committed, Delta, Finished
from letta.runtime.following import Part
from letta.store.tables import runs as rows

__all__ = ["postgres_url", "two_servers"]

REMEMBER = Call("memory_insert", {"label": "human", "new_string": "Likes tea."})


@pytest.fixture
def only_notices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody looks by itself while the test lasts: what is seen was told."""
    monkeypatch.setattr(runner, "_HEARTBEAT", 3_600.0)
    monkeypatch.setattr("letta.runtime.following._LOOK_HEARD", 3_600.0)


async def until(check: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not check():  # noqa: ASYNC110 - there is no event for what another replica does
            await asyncio.sleep(0.01)


def events_of(parts: list[Part]) -> list[Any]:
    return [event for part in parts for event in part.events]


async def begin(served: Served, **fields: Any) -> str:
    """A run in the background of a new agent."""
    agent = await served.agent(memory_blocks=[{"label": "human", "value": ""}])
    body = {"input": "I like tea.", **fields}
    run_id: str = (await served.http.post(f"/v1/agents/{agent['id']}/messages/async", json=body)).json()["id"]
    return run_id


@contextmanager
def watched(served: Served, run_id: str, *, tokens: bool) -> Iterator[list[Part]]:
    """What a reader on this replica has seen so far."""
    seen: list[Part] = []

    async def collect() -> None:
        async for part in served.parts.following.parts(run_id, tokens=tokens, idle=60):
            seen.append(part)  # noqa: PERF401 - seen is read while it grows

    task = asyncio.create_task(collect())
    yield seen
    task.cancel()


@pytest.mark.usefixtures("only_notices")
async def test_messages_are_seen_on_another_replica_as_they_are_stored(two_servers: Serve) -> None:
    gate = Gate("All of it is noted now.")
    async with two_servers(REMEMBER, gate) as here, two_servers() as there:
        run_id = await begin(here)
        with watched(there, run_id, tokens=False) as seen:
            await gate.reached.wait()
            await until(lambda: len(seen) == 1)
            [step] = events_of(seen)
            assert [message.role for message in step.messages] == ["user", "assistant", "tool"]
            gate.open.set()
            await until(lambda: bool(seen) and isinstance(seen[-1].events[-1], Finished))
        assert [type(event) for event in events_of(seen)] == [Committed, Committed, Finished]


@pytest.mark.usefixtures("only_notices")
async def test_pieces_are_seen_on_another_replica_while_the_message_is_written(two_servers: Serve) -> None:
    async with two_servers(["This is the beginning", Wait(60)]) as here, two_servers() as there:
        run_id = await begin(here, stream_tokens=True)
        with watched(there, run_id, tokens=True) as seen:

            def said() -> str:
                pieces = [event.piece for event in events_of(seen) if isinstance(event, Delta)]
                return "".join(getattr(piece, "text", "") for piece in pieces)

            await until(lambda: said() == "This is the beginning")
            assert not any(isinstance(event, Finished) for event in events_of(seen))
            await there.parts.runner.cancel([run_id])
            await until(lambda: isinstance(events_of(seen)[-1], Finished))


@pytest.mark.parametrize("tokens", [False, True])
async def test_without_notices_the_database_is_polled(two_servers: Serve, tokens: bool) -> None:
    pooled = {"database_pooler": True}
    async with two_servers([REMEMBER], ["It is", Wait(60)], **pooled) as here, two_servers(**pooled) as there:
        assert not there.parts.notices.reach
        run_id = await begin(here, stream_tokens=tokens)
        with watched(there, run_id, tokens=tokens) as seen:
            await until(lambda: any(isinstance(event, Committed) for event in events_of(seen)))
            if tokens:
                await until(lambda: "It is" in str(events_of(seen)[-1]) or "is" in str(events_of(seen)[-1]))
            await there.parts.runner.cancel([run_id])
            await until(lambda: isinstance(events_of(seen)[-1], Finished))


@pytest.mark.usefixtures("only_notices")
@pytest.mark.parametrize("tokens", [False, True])
async def test_stream_is_the_same_frame_by_frame_on_every_replica(two_servers: Serve, tokens: bool) -> None:
    gate = Gate("All of it is noted now.")
    async with two_servers([REMEMBER], gate) as here, two_servers() as there:
        run_id = await begin(here, stream_tokens=tokens)
        await gate.reached.wait()
        body = {"include_pings": False}
        watching = [
            asyncio.create_task(replica.http.post(f"/v1/runs/{run_id}/stream", json=body)) for replica in (here, there)
        ]
        await asyncio.sleep(0.1)
        gate.open.set()
        live = [answer.text for answer in await asyncio.gather(*watching)]
        later = [(await replica.http.post(f"/v1/runs/{run_id}/stream", json=body)).text for replica in (here, there)]
    assert live[0].endswith("data: [DONE]\n\n")
    assert set(live) == set(later) == {live[0]}


@pytest.mark.usefixtures("only_notices")
async def test_cancel_reaches_the_replica_that_works_on_the_run(two_servers: Serve) -> None:
    async with two_servers(["Half an answer", Wait(60)]) as here, two_servers() as there:
        run_id = await begin(here)
        await until(lambda: bool(here.model.requests))
        answer = await there.http.get(f"/v1/runs/{run_id}")
        cancelled = await there.http.post(f"/v1/agents/{answer.json()['agent_id']}/messages/cancel", json={})
        await until(lambda: here.parts.runner.get(run_id) is None)
        status = (await there.http.get(f"/v1/runs/{run_id}")).json()["status"]
    assert (cancelled.json(), status) == ({run_id: "cancelled"}, "cancelled")


@pytest.mark.parametrize("tokens", [False, True])
async def test_readers_go_on_with_the_replica_that_took_the_run_over(two_servers: Serve, tokens: bool) -> None:
    slow = ["It was slow", Wait(5)]
    async with two_servers([REMEMBER], slow) as here, two_servers("All is noted now.") as there:
        run_id = await begin(here, stream_tokens=tokens)
        await until(lambda: len(here.model.requests) == 2)
        with watched(here, run_id, tokens=tokens) as seen:
            answering = asyncio.create_task(here.http.post(f"/v1/runs/{run_id}/stream", json={"include_pings": False}))
            await until(lambda: bool(seen))
            await here.parts.database.write(lapse, run_id)
            await until(lambda: isinstance(events_of(seen)[-1], Finished))
            assert here.parts.runner.get(run_id) is None
            text = (await answering).text
        again = (await there.http.post(f"/v1/runs/{run_id}/stream", json={"include_pings": False})).text
    said = "".join(frame.get("content", "") for frame in frames(text)[:-1])
    assert said == ("It was slowAll is noted now." if tokens else "All is noted now.")
    known = [frame["id"] for frame in frames(again)[:-3]]
    assert frames(again)[:-3] == [frame for frame in frames(text)[:-3] if frame["id"] in known]
    assert frames(again)[-3:] == frames(text)[-3:]


@pytest.mark.parametrize("tokens", [False, True])
async def test_readers_outlive_connections_that_are_cut(two_servers: Serve, tokens: bool) -> None:
    gate = Gate("All of it is noted now.")
    async with two_servers([REMEMBER], gate) as here, two_servers() as there:
        run_id = await begin(here, stream_tokens=tokens)
        await gate.reached.wait()
        with watched(there, run_id, tokens=tokens) as far, watched(here, run_id, tokens=tokens) as near:
            await until(lambda: bool(far) and bool(near))
            for served in (here, there):
                await served.parts.database.read(cut)
            gate.open.set()
            for seen in (far, near):
                await until(partial(is_over, seen))
            ends = [event for event in events_of([*far, *near]) if isinstance(event, Finished)]
            assert [(end.stop_reason, end.failure) for end in ends] == [("end_turn", None)] * 2


def is_over(seen: list[Part]) -> bool:
    return bool(seen) and bool(seen[-1].events) and isinstance(seen[-1].events[-1], Finished)


def cut(connection: Connection) -> None:
    """End every connection of the database but this one."""
    others = "FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
    connection.execute(text(f"SELECT pg_terminate_backend(pid) {others}"))


def lapse(connection: Connection, run_id: str) -> None:
    """Let the lease of a run end, as if its owner had been away for too long."""
    connection.execute(rows.update().where(rows.c.id == run_id).values(lease_until=START, owner="somebody else"))


async def test_provider_added_on_one_replica_is_known_to_the_other(two_servers: Serve) -> None:
    async with two_servers() as here, two_servers() as there:
        body = {"name": "mine", "provider_type": "openai", "api_key": "sk-none", "base_url": "http://127.0.0.1:9/v1"}
        made = await here.http.post("/v1/providers/", json=body)
        assert made.status_code == 200, made.text
        await until(lambda: "mine" in [provider.name for provider in there.parts.registry.providers()])


# -- a replica that is killed ------------------------------------------------------------------------------------------


class Watcher:
    """Reads the stream of a run in a thread of its own; `seen` grows while it does."""

    def __init__(self, url: str, run_id: str, **body: Any) -> None:
        self.seen: list[Any] = []
        self._request = (f"{url}/v1/runs/{run_id}/stream", {"include_pings": False, **body})
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self) -> None:
        path, body = self._request
        try:
            with httpx2.Client(timeout=60) as http, http.stream("POST", path, json=body) as answer:
                for line in answer.iter_lines():
                    if line.startswith("data: "):
                        data = line.removeprefix("data: ")
                        self.seen.append(data if data == "[DONE]" else orjson.loads(data))
        except httpx2.TransportError:
            self.seen.append("[LOST]")


def wait_for(check: Callable[[], Any], seconds: float = 40) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := check()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
    return found


def kill(process: Process) -> None:
    process.running.kill()
    process.end()


@pytest.mark.parametrize("tokens", [False, True])
def test_watcher_on_another_replica_reaches_the_end_though_the_one_that_worked_was_killed(
    tmp_path: Path, postgres_url: str, tokens: bool
) -> None:
    insert = {"call": "memory_insert", "args": {"label": "human", "new_string": "Likes tea."}}
    script = orjson.dumps([["First of all.", insert], ["This takes", {"wait": 2}, " a while."], "done"]).decode()
    both = {"LETTA_DATABASE_URL": postgres_url, "LETTA_ENCRYPTION_KEY": "one for all"}
    with (
        server(tmp_path / "a", **both) as (first, process),
        server(tmp_path / "b", **both) as (second, _),
        httpx2.Client(base_url=second, timeout=30) as http,
    ):
        memory = [{"label": "human", "value": ""}]
        agent = http.post("/v1/agents/", json={"model": "letta/scripted", "memory_blocks": memory})
        path = f"{first}/v1/agents/{agent.json()['id']}/messages/async"
        run = httpx2.post(path, json={"input": f"!script {script}", "stream_tokens": tokens}).json()
        near, far = Watcher(first, run["id"]), Watcher(second, run["id"])
        for watcher in (near, far):
            wait_for(partial(shows, watcher, "tool_return_message"))
            if tokens:
                wait_for(partial(shows, watcher, "takes"))
        kill(process)
        before = len(far.seen)
        wait_for(lambda: far.seen[-1:] == ["[DONE]"])
        wait_for(lambda: near.seen[-1:] == ["[LOST]"])
        last = near.seen[-2]["seq_id"]
        resumed = Watcher(second, run["id"], starting_after=last)
        again = Watcher(second, run["id"])
        wait_for(lambda: resumed.seen[-1:] == again.seen[-1:] == ["[DONE]"])
        stored = http.get(f"/v1/runs/{run['id']}/messages").json()
        attempts = http.get(f"/v1/runs/{run['id']}").json()
    assert attempts["status"] == "completed"
    assert 0 < before < len(far.seen)
    for shown in (far.seen, [*near.seen[:-1], *resumed.seen], again.seen):
        numbers = [frame["seq_id"] for frame in shown[:-3]]
        assert numbers == sorted(set(numbers))
        assert [kind(frame) for frame in shown[-3:]] == ["stop_reason", "usage_statistics", "[DONE]"]
        assert whole(shown, stored) == [
            message | {"seq_id": None} for message in stored if message["message_type"] != "user_message"
        ]


def shows(watcher: Watcher, what: str) -> bool:
    """Whether a watcher has seen a message of this type, or a piece with this text."""
    return any(what in (frame["message_type"], frame.get("content")) for frame in list(watcher.seen))


def kind(frame: Any) -> str:
    return frame if isinstance(frame, str) else frame["message_type"]


def whole(shown: list[Any], stored: list[Any]) -> list[Any]:
    """The stored messages a stream showed, its pieces put together; those of one that was never stored left out."""
    known = {message["id"] for message in stored}
    found: dict[tuple[str, str], Any] = {}
    for frame in shown[:-3]:
        if frame["id"] not in known:
            continue
        key = (frame["id"], frame["otid"])
        if key not in found:
            found[key] = frame | {"seq_id": None}
            continue
        for name in ("content", "reasoning"):
            if name in frame:
                found[key][name] += frame[name]
        if frame.get("tool_calls"):
            found[key] = joined(found[key], frame["tool_calls"])
    return [shaped(frame) for frame in found.values()]


def joined(frame: Any, call: Any) -> Any:
    before = frame["tool_call"]
    whole_call = before | {"name": before["name"] or call["name"], "arguments": before["arguments"] + call["arguments"]}
    return frame | {"tool_call": whole_call, "tool_calls": whole_call}


def shaped(frame: Any) -> Any:
    if isinstance(frame.get("tool_calls"), dict):
        return frame | {"tool_calls": [frame["tool_calls"]]}
    return frame
