"""From the start of the process to the first healthy answer, and what it weighs when it has nothing to do."""

import asyncio
from pathlib import Path

from benchmarks import programs
from benchmarks.programs import Program
from benchmarks.sizes import Sizes
from benchmarks.table import Row, middle


async def run(sizes: Sizes, folder: Path) -> list[Row]:
    """Starts on a new and on an existing database; the floor is a bare ASGI program on the same HTTP server."""
    fresh: list[float] = []
    existing: list[float] = []
    bare: list[float] = []
    async with programs.provider() as upstream:
        for number in range(sizes.starts):
            home = folder / f"home{number}"
            home.mkdir()
            for times in (fresh, existing):
                async with programs.server(home, upstream) as ours:
                    times.append(ours.started)
            async with programs.floor(home, upstream) as floor:
                bare.append(floor.started)
        async with programs.server(folder / "home0", upstream) as ours, programs.floor(folder, upstream) as floor:
            await asyncio.sleep(sizes.settle_seconds)
            weight, least = ours.memory(), floor.memory()
            idle = await _idle(ours, sizes.settle_seconds)
    return [
        Row("start to first answer, new database", "s", middle(fresh), middle(bare), aim=1.5),
        Row("start to first answer, existing database", "s", middle(existing), middle(bare), aim=1.5),
        Row("idle memory (RSS)", "MB", weight[0], least[0], aim=150),
        Row("idle memory (PSS)", "MB", weight[1], least[1]),
        Row("CPU when idle", "% of a core", idle * 100),
    ]


async def _idle(program: Program, seconds: float) -> float:
    """CPU seconds per second with nothing to do."""
    before = program.cpu()
    await asyncio.sleep(seconds)
    return (program.cpu() - before) / seconds
