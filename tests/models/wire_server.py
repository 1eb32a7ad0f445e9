"""A real HTTP server inside the test process that answers what a test tells it to, and remembers what it was asked.

Knows bytes and connections only; what a provider's bytes look like is in the `wire_*` modules.
"""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from tests.listening import listening


@dataclass(frozen=True)
class Reply:
    """One answer, sent chunk by chunk.

    `cut` closes the connection instead of ending the answer. `stays_open` sends the chunks and then neither ends nor
    closes. `silent` closes the connection without any answer.
    """

    chunks: tuple[bytes, ...] = ()
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: {"content-type": "text/event-stream"})
    cut: bool = False
    stays_open: bool = False
    silent: bool = False

    def sliced(self, size: int) -> "Reply":
        """The same bytes in pieces of `size`, wherever that cuts them."""
        data = b"".join(self.chunks)
        return replace(self, chunks=tuple(data[at : at + size] for at in range(0, len(data), size)))

    def shortened(self, chunks: int, *, cut: bool = True) -> "Reply":
        """Only the first chunks, then a broken connection, or a clean end."""
        return replace(self, chunks=self.chunks[:chunks], cut=cut)


def json_reply(value: Any, status: int = 200, **headers: str) -> Reply:
    """A JSON answer. Underscores in header names stand for dashes."""
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Reply((json.dumps(value).encode(),), status, {"content-type": "application/json", **named})


def sse(*events: Any, end: bytes = b"") -> tuple[bytes, ...]:
    """Events of a stream, one chunk each: JSON values, or `(name, value)`."""
    chunks = []
    for event in events:
        name, value = event if isinstance(event, tuple) else (None, event)
        data = json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
        chunks.append((f"event: {name}\n".encode() if name else b"") + b"data: " + data + b"\n\n")
    return (*chunks, end) if end else tuple(chunks)


@dataclass(frozen=True)
class Asked:
    """One request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class WireServer:
    """Answers from `routes` where the path has one, else from `replies` in order."""

    def __init__(self) -> None:
        self.replies: deque[Reply] = deque()
        self.routes: dict[str, Reply] = {}
        self.asked: list[Asked] = []
        self.connections = 0
        self.answering = asyncio.Event()
        self.aborted = asyncio.Event()
        self.url = ""

    def will(self, *replies: Reply) -> None:
        """Answer the next requests with these."""
        self.replies.extend(replies)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while asked := await _read(reader):
                self.asked.append(asked)
                reply = self.routes.get(asked.path.partition("?")[0]) or self._next()
                if not await self._answer(reply, reader, writer):
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            self.aborted.set()
        finally:
            writer.close()

    def _next(self) -> Reply:
        return self.replies.popleft() if self.replies else json_reply({"error": {"message": "no such path"}}, 404)

    async def _answer(self, reply: Reply, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        if reply.silent:
            return False
        headers = "".join(f"{name}: {value}\r\n" for name, value in reply.headers.items())
        writer.write(f"HTTP/1.1 {reply.status} Status\r\n{headers}transfer-encoding: chunked\r\n\r\n".encode())
        self.answering.set()
        for chunk in reply.chunks:
            writer.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
            await writer.drain()
        if reply.cut:
            return False
        if reply.stays_open:
            if await reader.read(1) == b"":
                self.aborted.set()
            return False
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True


async def _read(reader: asyncio.StreamReader) -> Asked | None:
    head = await reader.readuntil(b"\r\n\r\n") if not reader.at_eof() else b""
    if not head:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    method, path, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
    return Asked(method, path, headers, await reader.readexactly(int(headers.get("content-length", 0))))


@asynccontextmanager
async def running() -> AsyncIterator[WireServer]:
    """A server on a free port of this machine, stopped at the end."""
    server = WireServer()
    async with listening(partial(_quietly, server)) as server.url:
        yield server


async def _quietly(server: WireServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        await server.serve(reader, writer)
    except asyncio.IncompleteReadError:
        return  # the client closed an idle connection
