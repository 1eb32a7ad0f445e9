"""A model server as the registry sees it: answers with JSON from a table, over real HTTP, and remembers who asked."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.listening import listening


@dataclass
class Seen:
    """One request."""

    path: str
    headers: dict[str, str]


@dataclass
class ModelServer:
    """`answers` maps a path to `(status, JSON)`; anything else is 404. While `open` is clear no answer is sent."""

    answers: dict[str, tuple[int, Any]]
    url: str = ""
    seen: list[Seen] = field(default_factory=list)
    open: asyncio.Event = field(default_factory=asyncio.Event)

    def count(self, path: str) -> int:
        """How often `path` was asked for."""
        return sum(seen.path == path for seen in self.seen)

    def list(self, *names: str, **fields: Any) -> None:
        """Offer these models, all with `fields`, from now on."""
        self.answers["/v1/models"] = (200, {"data": [{"id": name, "object": "model", **fields} for name in names]})

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (line := (await reader.readline()).decode()).strip():
                path = line.split()[1].partition("?")[0]
                headers: dict[str, str] = {}
                while header := (await reader.readline()).decode().strip():
                    name, _, value = header.partition(":")
                    headers[name.lower()] = value.strip()
                await reader.readexactly(int(headers.get("content-length", "0")))
                self.seen.append(Seen(path, headers))
                await self.open.wait()
                status, answer = self.answers.get(path, (404, {"error": {"message": "no such path"}}))
                body = json.dumps(answer).encode()
                head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
                writer.write(head.encode() + body)
                await writer.drain()
        finally:
            writer.close()


@asynccontextmanager
async def model_server(*names: str, **fields: Any) -> AsyncIterator[ModelServer]:
    """A server on a free port of this machine that lists these models."""
    server = ModelServer({})
    server.open.set()
    server.list(*names, **fields)
    async with listening(server.handle) as server.url:
        try:
            yield server
        finally:
            server.open.set()
