"""The side that asks: HTTP over one kept connection, with the moment the first token came. Knows no API."""

import asyncio
from dataclasses import dataclass
from time import perf_counter
from typing import Any, cast

import httptools
import orjson

_PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Exchange:
    """One answer. `first` and `total` are seconds after the request left: to the marked bytes, and to the end."""

    status: int
    body: bytes
    first: float | None
    total: float

    def json(self) -> Any:
        return orjson.loads(self.body)


class Connection(asyncio.Protocol):
    """A connection to a local server; one request at a time. It is opened again when the server closed it meanwhile."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._done: asyncio.Future[None] | None = None
        self._body: list[bytes] = []
        self._marker = b""
        self._first: float | None = None

    @classmethod
    async def open(cls, port: int) -> "Connection":
        """Connect to a local port. Raises OSError."""
        connection = cls(port)
        await connection._connect()
        return connection

    async def _connect(self) -> None:
        await asyncio.get_running_loop().create_connection(lambda: self, "127.0.0.1", self._port)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are not of asyncio's class.
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_exception(ConnectionResetError("the server closed the connection"))

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self._body.append(body)
        if self._first is None and self._marker and self._marker in body:
            self._first = perf_counter()

    def on_message_complete(self) -> None:
        assert self._done is not None
        self._done.set_result(None)

    async def get(self, path: str) -> Exchange:
        return await self.ask("GET", path, None)

    async def ask(self, method: str, path: str, body: Any, marker: bytes = b"") -> Exchange:
        """Send a request with a JSON body and wait for the whole answer; `marker` is looked for as it arrives."""
        return await self.send(method, path, b"" if body is None else orjson.dumps(body), marker)

    async def send(self, method: str, path: str, data: bytes, marker: bytes = b"") -> Exchange:
        """The same with bytes. Raises ConnectionError, and TimeoutError after a minute."""
        if self._transport is None or self._transport.is_closing():
            await self._connect()
        assert self._transport is not None
        self._parser = httptools.HttpResponseParser(self)
        self._done = asyncio.get_running_loop().create_future()
        self._body, self._marker, self._first = [], marker, None
        head = (
            f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
            f"content-length: {len(data)}\r\n\r\n"
        )
        begun = perf_counter()
        self._transport.write(head.encode() + data)
        async with asyncio.timeout(_PATIENCE):
            await self._done
        ended = perf_counter()
        first = None if self._first is None else self._first - begun
        return Exchange(self._parser.get_status_code(), b"".join(self._body), first, ended - begun)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
