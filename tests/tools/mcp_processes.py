"""Starting the MCP server of the tests, over each transport."""

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).with_name("mcp_server.py")
TRANSPORTS = ("stdio", "sse", "streamable_http")
_START_SECONDS = 60


def free_port() -> int:
    """A port nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass(slots=True)
class McpProcess:
    """An MCP server: how to reach it, and the folder it is told things by."""

    transport: str
    folder: Path
    port: int
    environment: dict[str, str]
    process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/{'sse' if self.transport == 'sse' else 'mcp'}"

    def config(self, **fields: Any) -> dict[str, Any]:
        """The configuration that leads to it."""
        if self.transport == "stdio":
            env = {"MCP_FOLDER": str(self.folder), **fields.pop("env", {})}
            command = {"command": sys.executable, "args": [str(SCRIPT), "stdio"]}
            return {"mcp_server_type": "stdio", **command, "env": env, **fields}
        return {"mcp_server_type": self.transport, "server_url": self.url, **fields}

    def tell(self, word: str) -> None:
        (self.folder / word).touch()

    @property
    def calls(self) -> list[str]:
        noted = self.folder / "calls"
        return noted.read_text().split() if noted.exists() else []

    @property
    def pid(self) -> int:
        """The process that runs, or ran last."""
        return int((self.folder / "pid").read_text())

    @property
    def alive(self) -> bool:
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        return True

    async def noted(self, word: str) -> None:
        """Wait until the server has noted a call."""
        await until(lambda: word in self.calls)

    async def start(self) -> None:
        """Start it, and wait until it answers. A stdio server is started by whoever connects."""
        if self.transport == "stdio":
            return
        kind = self.transport.replace("_", "-")
        log = (self.folder / "output").open("ab")
        with log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable,
                str(SCRIPT),
                kind,
                str(self.port),
                env={**os.environ, **self.environment, "MCP_FOLDER": str(self.folder)},
                stdout=log,
                stderr=log,
            )
        await until(lambda: _listens(self.port))

    async def kill(self) -> None:
        """End it at once."""
        if self.transport == "stdio":
            os.kill(self.pid, signal.SIGKILL)
        elif self.process is not None and self.process.returncode is None:
            self.process.kill()
        if self.process is not None:
            await self.process.wait()


@asynccontextmanager
async def mcp_process(transport: str, folder: Path, **environment: str) -> AsyncIterator[McpProcess]:
    """A running MCP server of the official library."""
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    running = McpProcess(transport, folder, free_port(), environment)
    await running.start()
    try:
        yield running
    finally:
        if transport != "stdio":
            await running.kill()


async def until(holds: Any) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + _START_SECONDS
    while not holds():
        assert time.monotonic() < deadline, "it never came true"
        await asyncio.sleep(0.02)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
