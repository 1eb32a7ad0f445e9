"""Servers that die and come back, one after the other."""

import asyncio
import contextlib
import os
import random
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
from tests.cli.process import surroundings

STARTED_WITHIN = 60.0
PHASES = ("before", "inside", "after")


@dataclass(slots=True)
class Replica:
    """One server: always at the same address, whatever process is behind it."""

    folder: Path
    port: int
    database_url: str | None
    process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self, point: str | None) -> None:
        """Start a process that dies at `point`, and wait until it answers or has died already."""
        more = {"CRASH_SEEN": str(self.folder / "seen"), "LETTA_LOG_LEVEL": "WARNING"}
        if point is not None:
            more["CRASH_POINT"] = point
        if self.database_url is not None:
            more["LETTA_DATABASE_URL"] = self.database_url
        environment = surroundings(self.folder, **more)
        environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        command = [sys.executable, "-m", "tests.crash.launcher", "server", "--port", str(self.port)]
        with (self.folder / "log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=log, stderr=log)
        deadline = time.monotonic() + STARTED_WITHIN
        async with httpx2.AsyncClient(base_url=self.url, timeout=5) as http:
            while self.process.returncode is None:
                try:
                    if (await http.get("/v1/health")).status_code == 200:
                        return
                except httpx2.TransportError:
                    await asyncio.sleep(0.05)
                assert time.monotonic() < deadline, f"no answer from {self.url}"

    async def die(self, patience: float) -> bool:
        """Wait until the process has died at its point; kill it if that takes too long. Whether it died by itself."""
        assert self.process is not None
        try:
            await asyncio.wait_for(self.process.wait(), patience)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):  # it has died just now
                self.process.kill()
            await self.process.wait()
            return False
        assert self.process.returncode == -signal.SIGKILL, f"the server ended with {self.process.returncode}"
        return True

    def point(self, chance: random.Random) -> str | None:
        """A point, likelier the more processes came by it; None as long as none is known."""
        seen = self.folder / "seen"
        names = seen.read_text().split() if seen.exists() else []
        return f"{chance.choice(names)}:{chance.choice(PHASES)}" if names else None

    async def stop(self) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.terminate()
            await asyncio.wait_for(self.process.wait(), STARTED_WITHIN)


@dataclass(slots=True)
class Kills:
    """Where servers were killed: how often at a chosen point, and how often at any moment."""

    at_points: dict[str, int] = field(default_factory=dict)
    anywhere: int = 0

    @property
    def count(self) -> int:
        return sum(self.at_points.values()) + self.anywhere


async def keep_killing(replica: Replica, kills: Kills, wanted: int, chance: random.Random) -> None:
    """Start and kill one replica until `wanted` servers are dead: mostly at points, sometimes at any moment.

    The replica runs when this returns.
    """
    while kills.count < wanted:
        point = replica.point(chance) if chance.random() < 0.85 else None
        await replica.start(f"{point}:{chance.choice((1, 1, 1, 2, 3))}" if point else None)
        if await replica.die(2.5 if point else chance.uniform(0.2, 2.0)) and point:
            kills.at_points[point] = kills.at_points.get(point, 0) + 1
        else:
            kills.anywhere += 1
    await replica.start(None)
