"""Clients that go on whatever happens: each has an agent, says things, and sends again what got no answer."""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx2
import orjson
from tests.crash.replicas import Replica

PAUSE = 0.05
PATIENCE = 60.0
"""Seconds a request may take: as long as a takeover, and then some."""

MARK = '''
def mark(number: str, agent_state) -> str:
    """Leave a mark that no transaction takes back.

    Args:
        number: What to write.
    """
    client.agents.passages.create(agent_state.id, text="mark " + number)
    return "marked " + number
'''


@dataclass(slots=True)
class Stream:
    """What a reader got of a run, over all its connections: the frames by their numbers, in the order they came."""

    run_id: str | None = None
    frames: list[dict[str, Any]] = field(default_factory=list)
    done: bool = False

    @property
    def last(self) -> int:
        return max((frame["seq_id"] for frame in self.frames if frame.get("seq_id") is not None), default=0)


@dataclass(slots=True)
class Talker:
    """One agent and who talks to it. What was acknowledged is kept, to be compared with what is stored."""

    replicas: Sequence[Replica]
    chance: random.Random
    agent_id: str = ""
    said: list[str] = field(default_factory=list)
    marks: list[str] = field(default_factory=list)
    streams: list[Stream] = field(default_factory=list)
    answered: dict[str, list[str]] = field(default_factory=dict)
    retries: int = 0
    stopped: bool = False

    async def talk(self) -> None:
        """Say one thing after the other, each until it is acknowledged."""
        acts = itertools.cycle([self._plain, self._stream, self.mark, self._remember, self._stream])
        for number, act in enumerate(acts):
            if self.stopped:
                return
            await act(f"{number}-{uuid4().hex[:8]}")

    async def _plain(self, name: str) -> None:
        await self._send(f"echo plain {name}")

    async def _remember(self, name: str) -> None:
        insert = {"call": "memory_insert", "args": {"label": "human", "new_string": f"fact {name}"}}
        await self._send("!script " + orjson.dumps([insert, f"noted {name}"]).decode())

    async def mark(self, name: str) -> None:
        """Have an unsafe tool called: its effect is outside of the step."""
        self.marks.append(name)
        await self._send("!script " + orjson.dumps([{"call": "mark", "args": {"number": name}}, "done"]).decode())

    async def _send(self, text: str) -> None:
        body = {"messages": [{"role": "user", "content": text, "otid": str(uuid4())}]}
        while True:
            answer = await self.request("POST", f"/v1/agents/{self.agent_id}/messages", body)
            if answer is not None and answer.status_code == 200:
                break
            self.retries += 1
        self.said.append(text)
        self.answered[text] = [message["id"] for message in answer.json()["messages"]]

    async def _stream(self, name: str) -> None:
        text = f"echo {name} " + " ".join(f"word{number}" for number in range(30))
        options = {"streaming": True, "stream_tokens": True, "background": True}
        body = {"messages": [{"role": "user", "content": text, "otid": str(uuid4())}], **options}
        stream = Stream()
        while not stream.done:
            if stream.run_id is None:
                stream.frames.clear()
                await self._read(stream, f"/v1/agents/{self.agent_id}/messages", body)
            else:
                await self._read(stream, f"/v1/runs/{stream.run_id}/stream", {"starting_after": stream.last})
        self.said.append(text)
        self.streams.append(stream)

    async def _read(self, stream: Stream, path: str, body: dict[str, Any]) -> None:
        try:
            async with (
                httpx2.AsyncClient(base_url=self._address(), timeout=PATIENCE) as http,
                http.stream("POST", path, json=body) as answer,
            ):
                if answer.status_code != 200:
                    await answer.aread()
                    self.retries += 1
                    await asyncio.sleep(PAUSE)
                    return
                async for data in _frames(answer):
                    if data == b"[DONE]":
                        stream.done = not any(f.get("error_type") == "stream_incomplete" for f in stream.frames)
                        stream.frames = [f for f in stream.frames if f.get("error_type") != "stream_incomplete"]
                        return
                    frame = orjson.loads(data)
                    stream.run_id = frame.get("run_id") or stream.run_id
                    if frame.get("message_type") != "ping":
                        stream.frames.append(frame)
        except httpx2.TransportError:
            self.retries += 1
            await asyncio.sleep(PAUSE)

    async def request(self, method: str, path: str, body: Any = None) -> httpx2.Response | None:
        """The answer of any replica, or None when it died meanwhile."""
        try:
            async with httpx2.AsyncClient(base_url=self._address(), timeout=PATIENCE) as http:
                return await http.request(method, path, json=body)
        except httpx2.TransportError:
            await asyncio.sleep(PAUSE)
            return None

    def _address(self) -> str:
        return self.chance.choice(self.replicas).url


async def _frames(answer: httpx2.Response) -> AsyncIterator[bytes]:
    async for line in answer.aiter_lines():
        if line.startswith("data: "):
            yield line[6:].encode()
