"""A run that is cancelled while something of it is stored or read: readers see what was stored, and nothing else."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.arrival.conftest import Gate
from tests.serving import Served, serve

from letta.errors import ContextOverflow, ModelServerError
from letta.models.scripted import Call
from letta.store import agents

EDIT = Call("memory_insert", {"label": "human", "new_string": "Likes tea."})
STEPS: list[Any] = [EDIT, "Noted."]
COMPACTED: list[Any] = ["One.", ContextOverflow("too long"), "A summary.", "Two."]


class Held:
    """A method of a database that does not answer, for one call, before it is let go; what it does is done by then."""

    def __init__(self, method: Any, held: str, number: int) -> None:
        self.reached, self.open, self._method, self._held, self._left = (
            asyncio.Event(),
            asyncio.Event(),
            method,
            held,
            number,
        )

    async def __call__(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        done = await self._method(function, *args, **kwargs)
        if function.__qualname__ == self._held:
            self._left -= 1
            if self._left == 0:
                self.reached.set()
                await self.open.wait()
        return done


async def stopped(served: Served, run_id: str) -> None:
    """Until the cancelling has reached the run."""
    running = served.parts.runner.get(run_id)
    assert running is not None
    async with asyncio.timeout(20):
        while not running.cancelled:  # noqa: ASYNC110 - nothing tells it
            await asyncio.sleep(0)


@pytest.mark.parametrize("tokens", [False, True])
@pytest.mark.parametrize(
    ("method", "function", "number", "script", "last"),
    [
        ("write", "commit_step", 1, STEPS, "tool_return_message"),
        ("read", "_load", 2, STEPS, "tool_return_message"),
        ("write", "_store", 1, COMPACTED, "summary_message"),
        ("read", "_load", 1, COMPACTED, "summary_message"),
    ],
)
async def test_readers_see_what_was_stored(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tokens: bool,
    method: str,
    function: str,
    number: int,
    script: list[Any],
    last: str,
) -> None:
    async with serve(tmp_path, script) as served:
        agent = await served.agent(memory_blocks=[{"label": "human", "value": ""}])
        if script is COMPACTED:
            await served.send(agent["id"], "word " * 300)
        held = Held(getattr(served.parts.database, method), function, number)
        monkeypatch.setattr(served.parts.database, method, held)
        body = {"input": "I like tea.", "stream_tokens": tokens, "include_compaction_messages": True}
        run = (await served.http.post(f"/v1/agents/{agent['id']}/messages/async", json=body)).json()
        follow, silent = f"/v1/runs/{run['id']}/stream", {"include_pings": False}
        watching = asyncio.create_task(served.http.post(follow, json=silent))
        async with asyncio.timeout(20):
            await held.reached.wait()
        cancelling = asyncio.create_task(served.http.post(f"/v1/agents/{agent['id']}/messages/cancel", json={}))
        await stopped(served, run["id"])
        held.open.set()
        assert list((await cancelling).json().values()) == ["cancelled"]
        seen, again = (await watching).text, (await served.http.post(follow, json=silent)).text
    assert f'"message_type":"{last}"' in seen
    assert '"stop_reason":"cancelled"' in seen
    assert again == seen


async def test_who_is_heard_when_the_run_is_cancelled_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(EDIT)
    async with serve(tmp_path, [gate, EDIT, "Never said."]) as served:
        agent = await served.agent(memory_blocks=[{"label": "human", "value": ""}])
        path = f"/v1/agents/{agent['id']}/messages"
        run = (await served.http.post(f"{path}/async", json={"input": "I like tea."})).json()
        await gate.reached.wait()
        held = Held(served.parts.database.write, "commit_heard", 1)
        monkeypatch.setattr(served.parts.database, "write", held)
        body = {"input": "And coffee.", "busy_policy": "steer"}
        second = (await served.http.post(f"{path}/async", json=body)).json()
        watching = asyncio.create_task(served.http.post(f"/v1/runs/{second['id']}/stream"))
        gate.open.set()
        async with asyncio.timeout(20):
            await held.reached.wait()
        cancelling = asyncio.create_task(served.http.post(f"{path}/cancel", json={"run_ids": [run["id"]]}))
        await stopped(served, run["id"])
        held.open.set()
        answer, seen = (await cancelling).json(), (await watching).text
        stored = [(await served.http.get(f"/v1/runs/{one['id']}")).json()["status"] for one in (run, second)]
    assert answer == {run["id"]: "cancelled"}
    assert '"stop_reason":"cancelled"' in seen
    assert stored == ["cancelled", "cancelled"]


async def test_failure_that_was_stored_is_what_everybody_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also who cancels the run after its end was stored, and before that was known."""
    gate = Gate(ModelServerError("broken"))
    async with serve(tmp_path, [gate]) as served:
        agent = await served.agent()
        path = f"/v1/agents/{agent['id']}/messages"
        run = (await served.http.post(f"{path}/async", json={"input": "Hello"})).json()
        watching = asyncio.create_task(served.http.post(f"/v1/runs/{run['id']}/stream"))
        await gate.reached.wait()
        ending = _Ending(served.parts.database.write)
        monkeypatch.setattr(served.parts.database, "write", ending)
        gate.open.set()
        async with asyncio.timeout(20):
            await ending.begun.wait()
        cancelling = asyncio.create_task(served.http.post(f"{path}/cancel", json={"run_ids": [run["id"]]}))
        await stopped(served, run["id"])
        ending.told.set()
        answer, seen = (await cancelling).json(), (await watching).text
        stored = (await served.http.get(f"/v1/runs/{run['id']}")).json()
    assert answer == {run["id"]: "failed"}
    assert (stored["status"], stored["stop_reason"]) == ("failed", "llm_api_error")
    assert "llm_api_error" in seen
    assert "cancelled" not in seen


class _Ending:
    """Lets the wish to cancel be stored first, then the run's end, and tells of the end when `told` is set."""

    def __init__(self, write: Any) -> None:
        self.begun, self.asked, self.stored, self.told = (asyncio.Event() for _ in range(4))
        self._write = write

    async def __call__(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        name = function.__qualname__
        if name == "record_end" and not self.begun.is_set():
            self.begun.set()
            await self.asked.wait()
            done = await self._write(function, *args, **kwargs)
            self.stored.set()
            await self.told.wait()
            return done
        done = await self._write(function, *args, **kwargs)
        if name == "request_cancel":
            self.asked.set()
            await self.stored.wait()
        return done


async def test_message_to_an_agent_that_is_deleted_meanwhile_is_not_an_error_of_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(tmp_path, ["Hello."]) as served:
        agent, write = await served.agent(), served.parts.database.write

        async def deleting(function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
            if function.__qualname__ == "commit_step":
                await write(agents.remove, agent["id"])
            return await write(function, *args, **kwargs)

        monkeypatch.setattr(served.parts.database, "write", deleting)
        answer = await served.http.post(f"/v1/agents/{agent['id']}/messages", json={"input": "Hi"})
    assert (answer.status_code, answer.json()["stop_reason"]["stop_reason"]) == (200, "cancelled")
