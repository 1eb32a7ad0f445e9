"""A server that speaks the part of E2B's API that a call needs, on this machine: each sandbox is a Python process.

It keeps what it was asked. It isolates nothing: only tests may use it.
"""

import asyncio
import json
import os
import secrets
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

KEY = "e2b_0123456789"


@dataclass
class E2BServer:
    """`created` are the bodies sandboxes were made from, `open` those that were not deleted, with their tokens."""

    url: str = ""
    created: list[dict[str, Any]] = field(default_factory=list)
    open: dict[str, str] = field(default_factory=dict)
    programs: list[str] = field(default_factory=list)
    executing: asyncio.Event = field(default_factory=asyncio.Event)

    def surroundings(self, **more: str) -> dict[str, str]:
        """What a server's environment says to use this one."""
        return {"E2B_API_KEY": KEY, "E2B_API_URL": self.url, "E2B_SANDBOX_URL": self.url, **more}

    async def create(self, request: Request) -> Response:
        if request.headers.get("x-api-key") != KEY:
            return JSONResponse({"code": 401, "message": "Invalid API key"}, 401)
        self.created.append(await request.json())
        name, token = f"i{secrets.token_hex(8)}", secrets.token_hex(8)
        self.open[name] = token
        made = {"templateID": self.created[-1]["templateID"], "sandboxID": name, "clientID": "local"}
        return JSONResponse({**made, "envdVersion": "0.2.0", "envdAccessToken": token, "domain": None}, 201)

    async def delete(self, request: Request) -> Response:
        known = self.open.pop(request.path_params["name"], None)
        return Response(status_code=204 if known else 404)

    async def execute(self, request: Request) -> Response:
        name = request.headers.get("e2b-sandbox-id", "")
        if self.open.get(name) != request.headers.get("x-access-token"):
            return JSONResponse({"code": 403, "message": "no such sandbox, or another's token"}, 403)
        body = await request.json()
        self.programs.append(body["code"])
        self.executing.set()
        return StreamingResponse(_run(body["code"]), media_type="application/x-ndjson")


async def _run(code: str) -> AsyncIterator[bytes]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "import sys; exec(compile(sys.stdin.read(), 'cell', 'exec'))",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"PATH": os.environ["PATH"], "PIP_NO_INDEX": "1"},
    )
    try:
        printed, complaints = await process.communicate(code.encode())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    text = printed.decode()
    for at in range(0, len(text), 8000):
        yield _line({"type": "stdout", "text": text[at : at + 8000], "timestamp": "2026-01-01T00:00:00Z"})
    if process.returncode:
        said = complaints.decode().strip().rpartition("\n")[2]
        name, _, value = said.partition(": ")
        yield _line({"type": "error", "name": name, "value": value, "traceback": complaints.decode()})
    yield _line({"type": "number_of_executions", "execution_count": 1})
    yield _line({"type": "end_of_execution"})


def _line(event: dict[str, Any]) -> bytes:
    return json.dumps(event).encode() + b"\n"


@asynccontextmanager
async def e2b_server() -> AsyncIterator[E2BServer]:
    """Serve on a free port."""
    made = E2BServer()
    routes = [
        Route("/sandboxes", made.create, methods=["POST"]),
        Route("/v2/sandboxes", made.create, methods=["POST"]),  # as the official SDK calls it
        Route("/sandboxes/{name}", made.delete, methods=["DELETE"]),
        Route("/execute", made.execute, methods=["POST"]),
    ]
    listening = socket.create_server(("127.0.0.1", 0))
    made.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    server = uvicorn.Server(uvicorn.Config(Starlette(routes=routes), log_level="error", lifespan="off"))
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        yield made
    finally:
        server.should_exit = True
        await serving
        listening.close()
