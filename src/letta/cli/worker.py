"""`letta worker`: work on runs that servers on the same PostgreSQL accepted, and answer no requests.

With a port it answers whether it is alive and ready, and its metrics, and nothing else.
"""

import asyncio
import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI
from fastapi.responses import JSONResponse

from letta import log as logs
from letta.api.context import Server
from letta.api.gateway import App, Receive, Scope, Send
from letta.app import behind_gateway, create_app
from letta.cli import terminal
from letta.cli.listen import listen, reachable_url
from letta.cli.serve import refuse_strangers
from letta.errors import LettaError
from letta.settings import Settings
from letta.store.database import parse_url
from letta.store.lock import shown_url
from letta.version import __version__

PROBES = frozenset({"/v1/health", "/v1/ready", "/metrics"})
READY = "Working on runs of"
"""The line that begins with this is printed once runs are looked for."""

_FORCED = 130


def work(port: int | None, **options: object) -> None:
    """Work until told to stop. Exit code: 2 for unusable options, 1 when it cannot start."""
    settings = terminal.read_settings(port=port, **options, execute=True)
    _refuse_sqlite(settings)
    if port is not None:
        refuse_strangers(settings)
    logs.configure(settings.log_level, settings.log_format)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    app = create_app(settings, os.environ)
    config = uvicorn.Config(
        only_probes(behind_gateway(app, settings, listening=True)),
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
    )
    try:
        with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
            runner.run(_work(app, settings, _Probes(config) if port is not None else None))
    except LettaError as error:
        terminal.fail(error.message)


def _refuse_sqlite(settings: Settings) -> None:
    try:
        shared = parse_url(settings.resolved_database_url).drivername != "sqlite"
    except LettaError as error:
        terminal.fail(error.message, 2)
    if not shared:
        terminal.fail(
            "a worker shares its database with servers, and a SQLite file has room for one process only: use "
            "PostgreSQL (--database-url or LETTA_DATABASE_URL), or let `letta server` work on its runs itself.",
            2,
        )


async def _work(app: FastAPI, settings: Settings, probes: "_Probes | None") -> None:
    console, stop = terminal.stdout(), asyncio.Event()
    sockets = listen(settings.host, settings.port) if probes else []
    with _told_to_stop(stop):
        async with app.router.lifespan_context(app):
            server: Server = app.state.server
            answering = asyncio.create_task(probes.serve(sockets)) if probes else None
            console.print(f"[bold]open-letta {__version__}[/] worker")
            if probes:
                console.print(f"  Probes at {reachable_url(settings.host, sockets[0].getsockname()[1])}")
            where = shown_url(settings.resolved_database_url)
            console.print(f"{READY} {where}, {settings.queue_slots} at once", markup=False)
            await stop.wait()
            console.print("Stopping: running steps may finish, a second signal stops at once.")
            await server.runner.close()
            if probes and answering:
                probes.should_exit = True
                await answering
    console.print("Stopped.")


def only_probes(app: App) -> App:
    """The application without what a worker does not do."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (scope["path"].rstrip("/") or "/") not in PROBES:
            detail = "this is a worker: it answers /v1/health, /v1/ready and /metrics only"
            await JSONResponse({"detail": detail}, 404)(scope, receive, send)
            return
        await app(scope, receive, send)

    return answer


class _Probes(uvicorn.Server):
    """Leaves signals to the command."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextmanager
def _told_to_stop(stop: asyncio.Event) -> Iterator[None]:
    """Set the event at the first SIGINT or SIGTERM; end the process at the second."""
    loop = asyncio.get_running_loop()

    def told() -> None:
        if stop.is_set():
            os.write(2, b"Stopped at once; other processes go on with unfinished runs.\n")
            os._exit(_FORCED)
        stop.set()

    numbers = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        loop.add_signal_handler(number, told)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
