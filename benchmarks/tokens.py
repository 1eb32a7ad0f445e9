"""Tokens streamed per CPU second: all at once, and one by one as a provider really sends them."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import orjson

from benchmarks import programs, seed
from benchmarks.programs import Program
from benchmarks.sizes import Sizes
from benchmarks.table import Row, middle
from benchmarks.talk import QUESTION, model
from benchmarks.wire import Connection

_STREAMS = 8
_GAP_MS = 2


async def run(sizes: Sizes, folder: Path) -> list[Row]:
    """Eight long answers at a time, against the floor."""
    shapes = {
        "in one burst": model(tokens=sizes.streamed),
        "one by one": model(tokens=sizes.streamed, gap_ms=_GAP_MS),
    }
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(programs.provider())
        ids = await _seeded(folder, upstream, list(shapes.values()))
        ours = await stack.enter_async_context(programs.server(folder, upstream))
        floor = await stack.enter_async_context(programs.floor(folder, upstream))
        lines = {program.pid: [await program.connect() for _ in range(_STREAMS)] for program in (ours, floor)}
        rows = []
        for shape, name in shapes.items():
            found: dict[int, list[float]] = {ours.pid: [], floor.pid: []}
            for _ in range(max(1, sizes.rounds // 3)):
                for program in (ours, floor):
                    paths = (
                        [f"/v1/agents/{agent_id}/messages/stream" for agent_id in ids[name]]
                        if program is ours
                        else [f"/step/2000/{name}-{number}" for number in range(_STREAMS)]
                    )
                    found[program.pid].append(await _streamed(program, lines[program.pid], paths, name, sizes.streamed))
            rows.append(
                Row(
                    f"tokens {shape}, {_STREAMS} streams",
                    "per CPU s",
                    middle(found[ours.pid]),
                    middle(found[floor.pid]),
                    more_is_better=True,
                )
            )
    return rows


async def _seeded(folder: Path, upstream: Program, models: list[str]) -> dict[str, list[str]]:
    async with seed.opened(folder, upstream) as server:
        return {name: await seed.make_agents(server, name, _STREAMS) for name in models}


async def _streamed(program: Program, lines: list[Connection], paths: list[str], name: str, tokens: int) -> float:
    """Tokens per CPU second of the program, after one stream that does not count."""
    data = orjson.dumps({"input": QUESTION, "stream_tokens": True, "model": name})
    await lines[0].send("POST", paths[0], data)
    before = program.cpu()
    await asyncio.gather(*(line.send("POST", path, data) for line, path in zip(lines, paths, strict=True)))
    return tokens * len(lines) / (program.cpu() - before)
