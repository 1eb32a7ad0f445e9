"""HTTP without a network: requests of an `httpx` client go straight to the application in this process.

The answer is handed over piece by piece as the application sends it, so that event streams stream, and a reader that
leaves disconnects. Knows ASGI and httpx, and nothing of what is served.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, MutableMapping
from typing import Any

import anyio
import httpx
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from letta.api.gateway import App

log = logging.getLogger(__name__)

Message = MutableMapping[str, Any]
_PIECES_AHEAD = 16
"""Pieces of an answer the application may be ahead of its reader."""
_FAREWELL = 1.0
"""Seconds readers have to take the rest of their answers when everything is closed."""


class AppTransport(httpx.AsyncBaseTransport):
    """Hands requests to an ASGI application that is already started; use it in the application's event loop only.

    Of the timeouts, `read` is kept (seconds until the next piece of an answer); the others have no meaning here.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        self._exchanges: set[_Exchange] = set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Raises httpx.ReadTimeout, and httpx.RemoteProtocolError for an application that breaks off."""
        body = await request.aread()
        exchange = _Exchange(_scope(request), body, request.extensions.get("timeout", {}).get("read"))
        self._exchanges.add(exchange)
        exchange.start(self._app, self._exchanges.discard)
        try:
            status, headers = await exchange.head()
        except BaseException:
            await exchange.aclose()
            raise
        return httpx.Response(status, headers=headers, stream=exchange, request=request)

    async def aclose(self) -> None:
        """Let readers finish for a moment, disconnect the others, and wait until the application has noticed."""
        exchanges = list(self._exchanges)
        with anyio.move_on_after(_FAREWELL):
            for exchange in exchanges:
                await exchange.read()
        for exchange in exchanges:
            await exchange.aclose()
        for exchange in exchanges:
            await exchange.ended()


class _Exchange(httpx.AsyncByteStream):
    """One request and its answer. Closing it is what a closed connection is to the application."""

    def __init__(self, scope: Message, body: bytes, patience: float | None) -> None:
        self._scope = scope
        self._body: bytes | None = body
        self._patience = patience
        self._gone = asyncio.Event()
        self._send: MemoryObjectSendStream[Message]
        self._received: MemoryObjectReceiveStream[Message]
        self._send, self._received = anyio.create_memory_object_stream(_PIECES_AHEAD)
        self._task: asyncio.Task[None] | None = None
        self._forget: Callable[[_Exchange], None] = lambda _: None

    def start(self, app: App, forget: "Callable[[_Exchange], None]") -> None:
        """Ask the application; `forget` is called once the answer is read or its reader has left."""
        self._forget = forget
        self._task = asyncio.create_task(self._run(app), name=f"{self._scope['method']} {self._scope['path']}")

    async def _run(self, app: App) -> None:
        try:
            await app(self._scope, self._receive_request, self._send_answer)
        except Exception:  # whatever an application raises ends its answer, as it does behind a server
            if not self._gone.is_set():
                log.exception("%s %s failed", self._scope["method"], self._scope["path"])
        finally:
            self._send.close()

    async def _receive_request(self) -> Message:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send_answer(self, message: Message) -> None:
        try:
            await self._send.send(message)
        except anyio.BrokenResourceError:
            raise OSError("the reader has left") from None

    async def head(self) -> tuple[int, list[tuple[bytes, bytes]]]:
        """Status and headers, once the application has sent them."""
        message = await self._next()
        return message["status"], list(message["headers"])

    async def __aiter__(self) -> AsyncIterator[bytes]:
        more = True
        while more:
            message = await self._next()
            if body := message.get("body"):
                yield body
            more = message.get("more_body", False)

    async def _next(self) -> Message:
        try:
            with anyio.fail_after(self._patience):
                return await self._received.receive()
        except TimeoutError:
            raise httpx.ReadTimeout(f"no answer for {self._patience} seconds") from None
        except (anyio.EndOfStream, anyio.ClosedResourceError):
            raise httpx.RemoteProtocolError("the application broke off its answer") from None

    async def aclose(self) -> None:
        self._gone.set()
        self._received.close()
        self._forget(self)

    async def read(self) -> None:
        """Wait until the reader has closed the answer."""
        await self._gone.wait()

    async def ended(self) -> None:
        """Wait until the application is done with the request."""
        if self._task is not None:
            await asyncio.wait({self._task})


def _scope(request: httpx.Request) -> Message:
    return {
        "type": "http",
        # With this version an application listens for the disconnect while it streams.
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": request.method,
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "scheme": request.url.scheme,
        "path": request.url.path,
        "raw_path": request.url.raw_path.partition(b"?")[0],
        "query_string": request.url.query,
        "server": (request.url.host, request.url.port or 80),
        "client": ("127.0.0.1", 0),
        "root_path": "",
    }
