"""A real HTTP server for ASGI apps, in a thread, on a free port of this machine.

One server serves every test of a session, each app under a path of its own: starting one takes longer than most tests.
"""

import itertools
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import uvicorn

DEADLINE = 10.0


class Host:
    """The apps of a server by the first segment of their path."""

    def __init__(self) -> None:
        self.apps: dict[str, Any] = {}
        self.numbers = itertools.count(1)
        self.origin = ""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        _, segment, rest = scope["path"].split("/", 2)
        raw = scope["raw_path"].split(b"/", 2)[2]
        await self.apps[segment]({**scope, "path": f"/{rest}", "raw_path": b"/" + raw}, receive, send)


@lru_cache(maxsize=1)
def _host() -> Host:
    host = Host()
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(host, log_level="critical", lifespan="off", ws="none"))
    threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True).start()
    deadline = time.monotonic() + DEADLINE
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.005)
    assert server.started, "the test server did not start"
    host.origin = f"http://127.0.0.1:{listener.getsockname()[1]}"
    return host


@contextmanager
def serving(app: Any) -> Iterator[str]:
    """Serve `app` and give its base URL; it is no longer served afterwards."""
    host = _host()
    segment = f"app{next(host.numbers)}"
    host.apps[segment] = app
    try:
        yield f"{host.origin}/{segment}"
    finally:
        del host.apps[segment]
