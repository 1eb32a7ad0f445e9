"""`letta server`: listen, start the application, say so, and stop in order."""

import asyncio
import logging
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn
from rich.console import Console

from letta import log as logs
from letta.api.context import Server
from letta.api.sse import is_news
from letta.app import behind_gateway, create_app
from letta.cli import banner, terminal
from letta.cli.listen import PortTakenError, give_up_after, listen, reachable_url
from letta.errors import LettaError
from letta.models.discovery import from_environment, local_servers
from letta.settings import Settings, is_loopback
from letta.store.lock import holder, lock_path

log = logging.getLogger(__name__)

_FORCED = 130
_ONE_SIGNAL = 0.5
"""Seconds in which signals count as one: supervisors send them to the process and to its group."""
_DRAIN = 5.0
"""Seconds that answers have to reach their readers after the runs behind them have ended."""


def serve(**options: object) -> None:
    """Run the server until it is told to stop. Exit code: 2 for unusable options, 1 when it cannot start."""
    settings = terminal.read_settings(**options)
    refuse_strangers(settings)
    logs.configure(settings.log_level, settings.log_format)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    logging.getLogger("uvicorn.error").addFilter(is_news)
    sockets = _listen(settings)
    try:
        _run(settings, sockets)
    except LettaError as error:
        terminal.fail(error.message)
    finally:
        for bound in sockets:
            bound.close()


def refuse_strangers(settings: Settings) -> None:
    """End the command where anybody could reach the server."""
    if is_loopback(settings.host) or banner.has_password(settings) or settings.insecure:
        return
    terminal.fail(
        f"--host {settings.host} can be reached from other machines, and there is no password: anybody could read and "
        "change every agent. Set LETTA_SERVER_PASSWORD (clients send it as their API key), or pass --insecure if "
        "something else keeps strangers out.",
        2,
    )


def _listen(settings: Settings) -> list[socket.socket]:
    try:
        sockets = listen(settings.host, settings.port)
        give_up_after(sockets, settings.stream_patience)
        return sockets
    except PortTakenError as error:
        path = lock_path(settings.resolved_database_url)
        other = holder(path) if path else None
        whose = f" A server for this data folder already runs at {other.url} (process {other.pid})." if other else ""
        terminal.fail(
            f"{error.message}{whose} Stop that program, or choose another port with --port (0 takes a free one)."
        )
    except LettaError as error:
        terminal.fail(error.message)


def _run(settings: Settings, sockets: list[socket.socket]) -> None:
    app = create_app(settings, os.environ)
    config = uvicorn.Config(
        behind_gateway(app, settings, listening=True),
        # Opened and closed here, so that what keeps it from starting is told instead of logged.
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=int(settings.shutdown_grace + _DRAIN),
    )
    url = reachable_url(settings.host, sockets[0].getsockname()[1])

    async def serve_until_told() -> None:
        async with app.router.lifespan_context(app):
            await _Listening(config, app.state.server, url).serve(sockets)

    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(serve_until_told())


class _Listening(uvicorn.Server):
    """Says when it listens, and ends what runs before it waits for its connections to close."""

    def __init__(self, config: uvicorn.Config, server: Server, url: str) -> None:
        super().__init__(config)
        self._server = server
        self._url = url
        self._console = terminal.stdout()
        self._counting: asyncio.Task[None] | None = None
        self._told_at = 0.0

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        server = self._server
        if server.lock is not None:
            server.lock.describe(self._url)
        names = [provider.name for provider in server.registry.providers()]
        _, hints = from_environment(os.environ)
        banner.announce(self._console, server.settings, self._url, names, hints)
        self._counting = asyncio.create_task(_count_models(self._console, server))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._console.print("Stopping: running steps may finish, a second signal stops at once.")
        if self._counting is not None:
            self._counting.cancel()
            await asyncio.gather(self._counting, return_exceptions=True)
        # Streams end when their runs do, so both happen at the same time.
        runs = asyncio.create_task(self._server.runner.close())
        await super().shutdown(sockets)
        await runs
        self._console.print("Stopped.")

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As in uvicorn, but a process that was told to stop and did so has not failed."""
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.should_exit:
            if time.monotonic() - self._told_at < _ONE_SIGNAL:
                return
            # Everything acknowledged is stored, so there is nothing to lose.
            os.write(2, b"Stopped at once; the next start goes on with unfinished runs.\n")
            os._exit(_FORCED)
        self.should_exit = True
        self._told_at = time.monotonic()


async def _count_models(console: Console, server: Server) -> None:
    """Say what is found out after the start: how tools are kept apart, and how many models each provider lists."""
    console.print(f"  {await server.custom.isolation()}", markup=False)
    if server.settings.discover_local:
        server.registry.add(await local_servers())
    await server.registry.models()
    banner.report_models(console, server.registry.status())
