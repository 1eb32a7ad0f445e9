"""Programs under measurement, as processes of their own: started, asked, weighed, ended. Linux only.

CPU is the process's own clock (user and system, all threads, nanoseconds), which other load on the machine does not
change much; memory is what the kernel says in `smaps_rollup`.
"""

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.wire import Connection

_PATIENCE = 60.0
_POLL = 0.005
_GRACE = 15.0


@dataclass(frozen=True, slots=True)
class Program:
    """A running program. `started` is the seconds from its start to its first answer."""

    pid: int
    port: int
    started: float

    def cpu(self) -> float:
        """CPU seconds used so far."""
        # The kernel's clock id of another process (clock_getcpuclockid): the inverted pid, and 2 for its run time.
        return time.clock_gettime((~self.pid << 3) | 2)

    def memory(self) -> tuple[float, float]:
        """RSS and PSS in MB."""
        lines = Path(f"/proc/{self.pid}/smaps_rollup").read_text().splitlines()
        sizes = {line.split(":")[0]: int(line.split()[1]) / 1024 for line in lines[1:]}
        return sizes["Rss"], sizes["Pss"]

    async def connect(self) -> Connection:
        """A new connection to the program."""
        return await Connection.open(self.port)


@contextlib.asynccontextmanager
async def started(
    command: Sequence[str], health: str, port: int, environment: Mapping[str, str] | None = None
) -> AsyncIterator[Program]:
    """Start `python COMMAND`, wait until `health` (a path) answers, and end the program afterwards.

    Raises:
        RuntimeError: it ended by itself or did not answer within a minute.
    """
    env = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "PYTHONPATH", "TMPDIR") if name in os.environ}
    begun = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, env={**env, **(environment or {})}, stdout=subprocess.DEVNULL
    )
    try:
        while not await _healthy(port, health):
            if process.returncode is not None or time.perf_counter() - begun > _PATIENCE:
                raise RuntimeError(f"{' '.join(command)} did not start")
            await asyncio.sleep(_POLL)
        yield Program(process.pid, port, time.perf_counter() - begun)
    finally:
        await _end(process)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(_GRACE):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


async def _healthy(port: int, path: str) -> bool:
    try:
        connection = await Connection.open(port)
    except OSError:
        return False
    try:
        return (await connection.get(path)).status == 200
    except ConnectionError:
        return False
    finally:
        connection.close()


def free_port() -> int:
    """A port nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.asynccontextmanager
async def provider() -> AsyncIterator[Program]:
    """The fake provider."""
    port = free_port()
    async with started(["-m", "benchmarks.provider", str(port)], "/v1/models", port) as program:
        yield program


@contextlib.asynccontextmanager
async def floor(folder: Path, upstream: Program) -> AsyncIterator[Program]:
    """The floor program, with its file in `folder`."""
    port = free_port()
    command = ["-m", "benchmarks.floor", str(port), str(folder / "floor.db")]
    async with started(command, "/health", port, keys(upstream)) as program:
        yield program


@contextlib.asynccontextmanager
async def server(folder: Path, upstream: Program) -> AsyncIterator[Program]:
    """Our server as people start it, with its data in `folder` and the fake provider as `openai`."""
    port = free_port()
    command = ["-m", "benchmarks.serve", "server", "--port", str(port), "--data-dir", str(folder)]
    settings = {"LETTA_DISCOVER_LOCAL": "false", "LETTA_LOG_LEVEL": "ERROR"}
    async with started(command, "/v1/health", port, {**keys(upstream), **settings}) as program:
        yield program


def keys(upstream: Program) -> dict[str, str]:
    """The environment that makes the fake provider `openai`."""
    return {"OPENAI_API_KEY": "none", "OPENAI_BASE_URL": f"http://127.0.0.1:{upstream.port}/v1"}
