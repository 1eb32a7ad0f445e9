"""Many agents at the same time, each waiting 50 ms for its model: throughput, waiting times, and the loop's lag."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

import orjson

from benchmarks import programs, seed
from benchmarks.programs import Program
from benchmarks.sizes import Sizes
from benchmarks.table import Row, middle, percentile
from benchmarks.talk import QUESTION, model

LATENCY_MS = 50
_MODEL = model(tokens=50, latency_ms=LATENCY_MS)
_CONTEXT = 4_000
_MANY = 64
_ROUNDS = 2
_PROBE_SECONDS = 0.02
_WARM_UP_SECONDS = 1.0


@dataclass(slots=True)
class Load:
    """What one round showed: milliseconds per step and of each health request in between, and steps per second."""

    steps: list[float] = field(default_factory=list)
    lags: list[float] = field(default_factory=list)
    per_second: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


async def run(sizes: Sizes, folder: Path) -> list[Row]:
    """Crowds of several sizes, ours and the floor by turns."""
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(programs.provider())
        ids = await _seeded(sizes, folder, upstream)
        ours = await stack.enter_async_context(programs.server(folder, upstream))
        floor = await stack.enter_async_context(programs.floor(folder, upstream))
        rows = []
        for crowd in sizes.crowds:
            # Connections, and what is made on first use, are no part of it.
            await _turn((Load(), Load()), (ours, floor), ids[:crowd], min(_WARM_UP_SECONDS, sizes.crowd_seconds))
            loads = Load(), Load()
            for _ in range(_ROUNDS if sizes.rounds > 1 else 1):
                await _turn(loads, (ours, floor), ids[:crowd], sizes.crowd_seconds)
            rows += _rows(crowd, *loads)
    return rows


async def _turn(
    loads: tuple[Load, Load], programs: tuple[Program, Program], ids: Sequence[str], seconds: float
) -> None:
    """The same crowd for ours, then for the floor."""
    paths = [f"/v1/agents/{agent_id}/messages/stream" for agent_id in ids]
    await _measure(loads[0], programs[0], "/v1/health", paths, seconds)
    paths = [f"/step/{_CONTEXT}/{number}" for number in range(len(ids))]
    await _measure(loads[1], programs[1], "/health", paths, seconds)


async def _seeded(sizes: Sizes, folder: Path, upstream: Program) -> list[str]:
    async with seed.opened(folder, upstream) as server:
        ids = await seed.make_agents(server, _MODEL, max(sizes.crowds))
        for agent_id in ids:
            await seed.give_history(server, agent_id, stored=20, context=_CONTEXT)
    return ids


async def _measure(load: Load, program: Program, health: str, paths: Sequence[str], seconds: float) -> None:
    data = orjson.dumps({"input": QUESTION, "stream_tokens": True, "model": _MODEL})
    lines = [await program.connect() for _ in paths]
    probe = await program.connect()
    end = perf_counter() + seconds
    done: list[float] = []

    async def talk(number: int) -> None:
        while perf_counter() < end:
            answer = await lines[number].send("POST", paths[number], data)
            if answer.status != 200:
                raise RuntimeError(f"{paths[number]} answered {answer.status}: {answer.body[:500]!r}")
            done.append(answer.total * 1e3)

    async def ask() -> None:
        while perf_counter() < end:
            load.lags.append((await probe.get(health)).total * 1e3)
            await asyncio.sleep(_PROBE_SECONDS)

    begun, before = perf_counter(), program.cpu()
    await asyncio.gather(ask(), *(talk(number) for number in range(len(paths))))
    load.per_second.append(len(done) / (perf_counter() - begun))
    load.cpu.append((program.cpu() - before) / len(done) * 1e3)
    load.steps += done
    for line in (*lines, probe):
        line.close()


def _rows(crowd: int, ours: Load, floor: Load) -> list[Row]:
    who = f"{crowd} agents at once"
    # What the server should do for 64 agents on two cores.
    steps, lag = (150.0, 20.0) if crowd == _MANY else (None, None)
    per_second = middle(ours.per_second), middle(floor.per_second)
    late = percentile(ours.lags, 0.95), percentile(floor.lags, 0.95)
    return [
        Row(f"{who}: steps", "per s", *per_second, aim=steps, more_is_better=True),
        Row(f"{who}: CPU per step", "ms", middle(ours.cpu), middle(floor.cpu)),
        Row(f"{who}: step, p50", "ms", percentile(ours.steps, 0.5), percentile(floor.steps, 0.5)),
        Row(f"{who}: step, p95", "ms", percentile(ours.steps, 0.95), percentile(floor.steps, 0.95)),
        Row(f"{who}: health answer meanwhile, p50", "ms", percentile(ours.lags, 0.5), percentile(floor.lags, 0.5)),
        Row(
            f"{who}: health answer meanwhile, p95",
            "ms",
            *late,
            aim=lag,
        ),
    ]
