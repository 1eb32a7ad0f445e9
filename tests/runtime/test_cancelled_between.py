"""A run that is cancelled while something of it is stored or read: readers see what was stored, and nothing else."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.serving import serve

from letta.errors import ContextOverflow
from letta.models.scripted import Call

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
        running = served.parts.runner.get(run["id"])
        assert running is not None
        while not running.cancelled:  # noqa: ASYNC110
            await asyncio.sleep(0)
        held.open.set()
        assert list((await cancelling).json().values()) == ["cancelled"]
        seen, again = (await watching).text, (await served.http.post(follow, json=silent)).text
    assert f'"message_type":"{last}"' in seen
    assert '"stop_reason":"cancelled"' in seen
    assert again == seen
