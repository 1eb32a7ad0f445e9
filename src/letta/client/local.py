"""The whole server inside this process, without a port: for an event loop of one's own, or on a thread beside it.

Knows how the application is opened and closed, and nothing of the API.
"""

import concurrent.futures
import threading
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar, TypeVarTuple, Unpack

import anyio
import httpx
from anyio.from_thread import BlockingPortal

from letta.app import behind_gateway, create_app
from letta.client.transport import AppTransport
from letta.settings import Settings

A = TypeVarTuple("A")
T = TypeVar("T")

URL = "http://letta.local"
"""The base URL of in-process clients. Nothing is ever looked up under this name."""


def local_settings(data_dir: Path | str | None, given: dict[str, Any]) -> Settings:
    """The settings of an in-process server: as a server's, but without a password, since nobody else can reach it.

    Raises:
        TypeError: there is no such setting.
        pydantic.ValidationError: a setting has an unusable value.
    """
    unknown = sorted(set(given) - set(Settings.model_fields))
    if unknown:
        raise TypeError(f"unknown setting {unknown[0]!r}, must be one of {sorted(Settings.model_fields)}")
    folder = {} if data_dir is None else {"data_dir": Path(data_dir)}
    return Settings(**{**given, **folder}).model_copy(update={"server_password": None})


@asynccontextmanager
async def running_app(settings: Settings) -> AsyncIterator[AppTransport]:
    """Run the application in the current event loop.

    Raises:
        letta.errors.Conflict: another process uses the data folder.
        letta.errors.LettaError: what else keeps a server from starting, see `letta.app.open_server`.
    """
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        transport = AppTransport(behind_gateway(app, settings))
        try:
            yield transport
        finally:
            # First what runs, so that everybody who waits for it gets an answer.
            await app.state.server.runner.close()
            await transport.aclose()


class ThreadTransport(httpx.BaseTransport):
    """The application on a thread of its own, for clients that wait for their answers. Any thread may use it.

    Raises what `running_app` raises. `close` stops it; so does the end of the process.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._opened: concurrent.futures.Future[tuple[BlockingPortal, AppTransport]] = concurrent.futures.Future()
        self._ended: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._told_to_stop: anyio.Event
        # A daemon, because the interpreter waits for other threads before it gives anybody the chance to stop them.
        self._thread = threading.Thread(target=self._work, name="letta-local", daemon=True)
        self._thread.start()
        self._portal, self._transport = self._opened.result()
        _open.add(self)

    def _work(self) -> None:
        anyio.run(self._serve)

    async def _serve(self) -> None:
        async with BlockingPortal() as portal:
            try:
                async with running_app(self._settings) as transport:
                    self._told_to_stop = anyio.Event()
                    self._opened.set_result((portal, transport))
                    await self._told_to_stop.wait()
            except BaseException as error:  # raised where somebody waits: in the constructor, or in `close`
                (self._ended if self._opened.done() else self._opened).set_exception(error)
            else:
                self._ended.set_result(None)

    def call(self, function: Callable[[Unpack[A]], Awaitable[T]], *args: *A) -> T:
        """Run a coroutine function on the application's thread; it is cancelled when this wait is interrupted.

        Raises:
            httpx.TransportError: the client is closed.
        """
        try:
            future = self._portal.start_task_soon(function, *args)
        except RuntimeError:
            raise httpx.TransportError("this client is closed") from None
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.read()
        response = self.call(self._transport.handle_async_request, request)
        assert isinstance(response.stream, httpx.AsyncByteStream)
        pieces = _Pieces(self, response.stream)
        return httpx.Response(response.status_code, headers=response.headers, stream=pieces, request=request)

    def leave(self, stream: httpx.AsyncByteStream) -> None:
        """Disconnect the reader of a stream. One whose client is closed is disconnected already."""
        with suppress(httpx.TransportError):
            self.call(stream.aclose)

    def close(self) -> None:
        """Finish or park what runs, and close the database. May be called again. Raises what goes wrong with that."""
        with suppress(RuntimeError):  # it is stopped already
            self._portal.start_task_soon(self._told_to_stop.set)
        self._thread.join()
        self._ended.result()


class _Pieces(httpx.SyncByteStream):
    """A stream of the application's thread, read from another."""

    def __init__(self, transport: ThreadTransport, stream: httpx.AsyncByteStream) -> None:
        self._transport = transport
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        pieces = aiter(self._stream)

        async def following() -> bytes | None:
            return await anext(pieces, None)

        while (piece := self._transport.call(following)) is not None:
            yield piece

    def close(self) -> None:
        self._transport.leave(self._stream)


_open: weakref.WeakSet[ThreadTransport] = weakref.WeakSet()


def _close_all() -> None:
    for transport in list(_open):
        transport.close()


# Earlier than `atexit`, where no thread takes work any more and so nothing could be stored.
threading._register_atexit(_close_all)  # type: ignore[attr-defined]
