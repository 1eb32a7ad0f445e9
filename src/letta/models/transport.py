"""HTTP/1.1 to model providers over asyncio and httptools, as a transport of httpx2.

A request is one write, and what arrives together is handed on together: the usual transport of httpx2 spends more on a
streamed answer than the rest of a step. Knows no proxies; where one is set, the usual transport is used.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncIterator
from time import monotonic
from typing import NamedTuple, cast

import httptools
import httpx2

_HIGH = 1 << 20
"""Bytes of an answer that may wait to be read before the connection is paused."""
_BODILESS = frozenset({204, 304})


class Limits(NamedTuple):
    """How many idle connections to one address are kept, and for how many seconds."""

    idle: int = 100
    expiry: float = 60.0


class DirectTransport(httpx2.AsyncBaseTransport):
    """Connections to any address, kept open between requests. For one event loop."""

    def __init__(self, tls: ssl.SSLContext, limits: Limits = Limits()) -> None:
        self._tls = tls
        self._limits = limits
        self._idle: dict[tuple[str, str, int], deque[_Connection]] = {}

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request and wait for the head of its answer.

        Raises:
            httpx2.RequestError: its leaves, for no connection, a broken one, or silence.
        """
        timeout = request.extensions.get("timeout", {})
        head, body = _head(request), b"".join([chunk async for chunk in request.stream])  # type: ignore[union-attr]  # an AsyncClient gives both kinds a way to be read so
        connection = self._kept(request.url) or await self._connect(request.url, timeout.get("connect"))
        try:
            await connection.send(head + body, timeout.get("write"), bodiless=request.method == "HEAD")
            await connection.headers(timeout.get("read"))
        except BaseException:
            # A cancelled request, too, leaves an answer on the way that nobody will read.
            connection.abort()
            raise
        stream = _Answer(self, connection, _origin(request.url), timeout.get("read"))
        return httpx2.Response(
            connection.status, headers=connection.fields, stream=stream, extensions={"http_version": b"HTTP/1.1"}
        )

    async def aclose(self) -> None:
        """Close idle connections; those in use are closed by whoever reads them."""
        for kept in self._idle.values():
            for connection in kept:
                connection.abort()
        self._idle.clear()

    def keep(self, origin: tuple[str, str, int], connection: "_Connection") -> None:
        """Take a connection back whose answer was read to its end."""
        kept = self._idle.setdefault(origin, deque())
        if not connection.can_serve_again or len(kept) >= self._limits.idle:
            connection.abort()
            return
        connection.idle_since = monotonic()
        kept.append(connection)

    def _kept(self, url: httpx2.URL) -> "_Connection | None":
        kept, oldest = self._idle.get(_origin(url)), monotonic() - self._limits.expiry
        while kept:
            connection = kept.pop()
            if connection.can_serve_again and connection.idle_since >= oldest:
                return connection
            connection.abort()
        return None

    async def _connect(self, url: httpx2.URL, seconds: float | None) -> "_Connection":
        scheme, host, port = _origin(url)
        tls, name = (self._tls, host) if scheme == "https" else (None, None)
        try:
            async with asyncio.timeout(seconds):
                _, made = await asyncio.get_running_loop().create_connection(
                    _Connection, host, port, ssl=tls, server_hostname=name
                )
        except TimeoutError as error:
            raise httpx2.ConnectTimeout(f"no connection to {host}:{port} within {seconds} s") from error
        except (OSError, ssl.SSLError) as error:
            raise httpx2.ConnectError(str(error) or type(error).__name__) from error
        return made


class _Answer(httpx2.AsyncByteStream):
    """The body of an answer. Closed before its end, the connection is closed, too."""

    def __init__(
        self, owner: DirectTransport, connection: "_Connection", origin: tuple[str, str, int], seconds: float | None
    ) -> None:
        self._owner = owner
        self._connection: _Connection | None = connection
        self._origin = origin
        self._seconds = seconds

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while self._connection is not None and (data := await self._connection.read(self._seconds)):
            yield data

    async def aclose(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if connection.is_read:
            self._owner.keep(self._origin, connection)
        else:
            connection.abort()


class _Connection(asyncio.Protocol):
    """One connection, with one answer at a time."""

    def __init__(self) -> None:
        self.status = 0
        self.fields: list[tuple[bytes, bytes]] = []
        self.idle_since = 0.0
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._chunks: list[bytes] = []
        self._held = 0
        self._paused = self._headed = self._ended = self._bodiless = self._until_close = False
        self._failure: httpx2.RequestError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._drained = asyncio.Event()
        self._drained.set()
        self._closed = self._keeps = False

    # -- one request --------------------------------------------------------------------------------------------------

    async def send(self, data: bytes, seconds: float | None, *, bodiless: bool) -> None:
        """Begin a request. `bodiless`: its answer has headers only."""
        self.status, self.fields, self._chunks, self._held = 0, [], [], 0
        self._headed = self._ended = self._until_close = self._keeps = False
        self._failure, self._bodiless = None, bodiless
        self._parser = httptools.HttpResponseParser(self)
        assert self._transport is not None, "a connection is made before it is used"
        self._transport.write(data)
        if not self._drained.is_set():
            try:
                async with asyncio.timeout(seconds):
                    await self._drained.wait()
            except TimeoutError as error:
                raise httpx2.WriteTimeout("the request could not be sent in time") from error
        self._check()

    async def headers(self, seconds: float | None) -> None:
        """Wait for the head of the answer."""
        while not self._headed:
            self._check()
            await self._wait(seconds)

    async def read(self, seconds: float | None) -> bytes:
        """What has arrived since the last time, as soon as there is something; nothing at the end."""
        while not self._chunks:
            if self._ended:
                return b""
            self._check()
            await self._wait(seconds)
        data = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks, self._held = [], 0
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        return data

    @property
    def is_read(self) -> bool:
        """Whether the whole answer has arrived and was read."""
        return self._ended and not self._chunks

    @property
    def can_serve_again(self) -> bool:
        return self._keeps and self._ended and not self._closed

    def abort(self) -> None:
        """Close the connection at once."""
        self._closed = True
        if self._transport is not None:
            self._transport.abort()

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._closed and not self._ended:
            raise httpx2.RemoteProtocolError("the server closed the connection before its answer was complete")

    async def _wait(self, seconds: float | None) -> None:
        self._waiter = self._loop.create_future()
        timer = None if seconds is None else self._loop.call_later(seconds, self._give_up)
        try:
            await self._waiter
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()

    def _give_up(self) -> None:
        self._failure = httpx2.ReadTimeout("the server was silent for too long")
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # -- called by the event loop -------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Those of uvloop are no subclass.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self._parser is None or self._ended:
            self.abort()  # nothing was asked for
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._failure = httpx2.RemoteProtocolError(f"the answer is no HTTP: {error}")
            self.abort()
        if self._held > _HIGH and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed = True
        self._drained.set()
        if exc is not None and not self._ended and self._failure is None:
            self._failure = httpx2.ReadError(str(exc) or type(exc).__name__)
        elif self._until_close and self._headed:
            self._ended = True
        self._wake()

    def pause_writing(self) -> None:
        self._drained.clear()

    def resume_writing(self) -> None:
        self._drained.set()

    # -- called by the parser -----------------------------------------------------------------------------------------

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name, value))

    def on_headers_complete(self) -> None:
        assert self._parser is not None
        status = self._parser.get_status_code()
        if 100 <= status < 200:
            self.fields = []
            return
        self.status, self._headed = status, True
        names = {name.lower() for name, _ in self.fields}
        if self._bodiless or status in _BODILESS:
            self._ended = True
        else:
            self._until_close = not names & {b"content-length", b"transfer-encoding"}

    def on_body(self, body: bytes) -> None:
        self._chunks.append(body)
        self._held += len(body)

    def on_message_complete(self) -> None:
        if self._headed:
            assert self._parser is not None
            self._ended, self._keeps = True, self._parser.should_keep_alive()


def _origin(url: httpx2.URL) -> tuple[str, str, int]:
    return url.scheme, url.host, url.port or (443 if url.scheme == "https" else 80)


def _head(request: httpx2.Request) -> bytes:
    lines = [b"%b %b HTTP/1.1" % (request.method.encode(), request.url.raw_path)]
    lines += [b"%b: %b" % (name, value) for name, value in request.headers.raw]
    return b"\r\n".join(lines) + b"\r\n\r\n"
