"""An embedding provider in the test process, over real HTTP: texts that share words get vectors that are close."""

import asyncio
import json
import re
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.listening import listening

REFUSED = "unspeakable"
"""A word in a text that the provider refuses to embed."""


@dataclass
class EmbeddingServer:
    """`dimension` is the length of its vectors, `down` what it answers instead of vectors (a status), if not None."""

    dimension: int = 64
    down: int | None = None
    url: str = ""
    asked: list[list[str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)

    def vector(self, text: str) -> list[float]:
        """A vector with a place for each word."""
        made = [0.0] * self.dimension
        for word in re.findall(r"\w+", text.lower()):
            made[zlib.crc32(word.encode()) % self.dimension] += 2.0
        made[0] += 0.5
        return made

    def answer(self, path: str, body: Any) -> tuple[int, Any]:
        """The status and JSON for a request."""
        self.paths.append(path)
        if path == "/v1/models":
            return 200, {"data": [{"id": "word-embed", "object": "model"}]}
        if not path.endswith("/embeddings"):
            return 404, {"error": {"message": "no such path"}}
        self.asked.append(body["input"])
        if self.down is not None:
            return self.down, {"error": {"message": "out of order"}}
        if any(REFUSED in text for text in body["input"]):
            return 400, {"error": {"message": "one of the texts cannot be embedded", "type": "invalid_request_error"}}
        rows = [{"index": number, "embedding": self.vector(text)} for number, text in enumerate(body["input"])]
        return 200, {"data": list(reversed(rows)), "model": body["model"]}

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := (await reader.readline()).decode():
                path, length = line.split()[1], 0
                while header := (await reader.readline()).decode().strip():
                    name, _, value = header.partition(":")
                    length = int(value) if name.lower() == "content-length" else length
                body = await reader.readexactly(length)
                status, answer = self.answer(path, json.loads(body) if body else None)
                data = json.dumps(answer).encode()
                head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
                writer.write(head.encode() + data)
                await writer.drain()
        finally:
            writer.close()


@asynccontextmanager
async def embedding_server(**values: Any) -> AsyncIterator[EmbeddingServer]:
    """A provider on a free port of this machine; its address is `url`."""
    server = EmbeddingServer(**values)
    async with listening(server.handle) as server.url:
        yield server
