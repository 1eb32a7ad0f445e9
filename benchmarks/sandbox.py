"""Calls of tools written in code: warm, with a zygote that has to be started, and many at once.

The floor is a Python started anew for the same work (`python -I`), measured in the same run in turns with ours.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import perf_counter

from benchmarks.sizes import Sizes
from benchmarks.table import Row, middle, percentile
from letta.schemas.tools import Tool
from letta.settings import Settings
from letta.tools.custom import CustomTools, ToolEnvironment

AT_ONCE = 16
_SOURCE = """
import json, random, re

def roll(sides: int) -> dict:
    return {"rolled": random.randint(1, sides), "text": re.sub("a", "b", json.dumps(["a"]))}
"""
_TOOL = Tool(id="tool-benchmark", name="roll", source_code=_SOURCE, source_type="python")
_COLD = f"{_SOURCE}\nprint(json.dumps(roll(6)))"


async def run(sizes: Sizes, folder: Path) -> list[Row]:
    """One row for each isolation this machine has, and kind of call; milliseconds on the wall."""
    rows: list[Row] = []
    for kind in ("bubblewrap", "landlock"):
        custom = CustomTools(Settings(data_dir=folder / kind, sandbox=kind), {})
        try:
            if (await custom.isolation()).kind == kind:
                rows += await _rows(kind, custom, sizes.steps)
        finally:
            await custom.aclose()
    return rows


async def _rows(kind: str, custom: CustomTools, times: int) -> list[Row]:
    first = await _taken(lambda: _call(custom))
    warm, cold = [], []
    for _ in range(times):
        warm.append(await _taken(lambda: _call(custom)))
        cold.append(await _taken(_python))
    together, together_cold = [], []
    for _ in range(max(1, times // 4)):
        together.append(await _taken(lambda: _many(lambda: _call(custom))))
        together_cold.append(await _taken(lambda: _many(_python)))
    plain = middle(cold)
    return [
        Row(f"{kind}: first call", "ms", first, plain),
        Row(f"{kind}: warm call, p50", "ms", middle(warm), plain, aim=10),
        Row(f"{kind}: warm call, p95", "ms", percentile(warm, 0.95), percentile(cold, 0.95)),
        Row(f"{kind}: {AT_ONCE} calls at once, all", "ms", middle(together), middle(together_cold)),
    ]


async def _taken(work: Callable[[], Awaitable[None]]) -> float:
    begun = perf_counter()
    await work()
    return (perf_counter() - begun) * 1000


async def _call(custom: CustomTools) -> None:
    done = await custom.run(_TOOL, {"sides": 6}, ToolEnvironment())
    if not done.ok:
        raise RuntimeError(done.text)


async def _python() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-c", _COLD, stdout=asyncio.subprocess.PIPE, env={}
    )
    await process.communicate()


async def _many(work: Callable[[], Awaitable[None]]) -> None:
    await asyncio.gather(*(work() for _ in range(AT_ONCE)))
