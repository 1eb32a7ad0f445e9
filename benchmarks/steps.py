"""What one step costs, and how much later its first token comes: ours and the floor's, by size of the context."""

from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import orjson

from benchmarks import programs, seed
from benchmarks.programs import Program
from benchmarks.sizes import Sizes
from benchmarks.table import Row, middle
from benchmarks.talk import QUESTION, SYSTEM, length, model, said
from benchmarks.wire import Connection

ANSWER = model(tokens=50)
TOKEN = b'"content":'
_WARM_UP = 2


@dataclass(frozen=True, slots=True)
class Target:
    """Who is asked, and in which form; the CPU of `program` is what counts."""

    connection: Connection
    program: Program
    path: str
    body: dict[str, object]


@dataclass(frozen=True, slots=True)
class Cost:
    """Milliseconds of one step: CPU of the program, until the end, and until the first token."""

    cpu: float
    wall: float
    first: float


async def run(sizes: Sizes, folder: Path) -> list[Row]:
    """Steps in contexts of several sizes, against the floor."""
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(programs.provider())
        ids = await _seeded(sizes, folder, upstream)
        ours = await stack.enter_async_context(programs.server(folder, upstream))
        floor = await stack.enter_async_context(programs.floor(folder, upstream))
        connections = {program.pid: await program.connect() for program in (upstream, ours, floor)}
        rows = []
        for context in sizes.contexts:
            costs: dict[str, list[Cost]] = {"ours": [], "floor": [], "json": [], "direct": []}
            for number, agent_id in enumerate(ids[context]):
                path = f"/v1/agents/{agent_id}/messages"
                targets = {
                    "ours": _target(connections, ours, f"{path}/stream", stream_tokens=True),
                    "json": _target(connections, ours, path),
                    "floor": _target(connections, floor, f"/step/{context}/{number}", model=ANSWER),
                    "direct": Target(connections[upstream.pid], upstream, "/v1/chat/completions", _direct(context)),
                }
                for name, target in targets.items():
                    costs[name].append(await measure(target, sizes.steps))
            rows += _rows(context, costs)
    return rows


async def _seeded(sizes: Sizes, folder: Path, upstream: Program) -> dict[int, list[str]]:
    async with seed.opened(folder, upstream) as server:
        ids = await seed.make_agents(server, ANSWER, sizes.rounds * len(sizes.contexts))
        groups = {}
        for context in sizes.contexts:
            groups[context], ids = ids[: sizes.rounds], ids[sizes.rounds :]
            for agent_id in groups[context]:
                await seed.give_history(server, agent_id, stored=length(context), context=context)
    return groups


def _target(connections: dict[int, Connection], program: Program, path: str, **fields: object) -> Target:
    return Target(connections[program.pid], program, path, {"input": QUESTION, **fields})


def _direct(context: int) -> dict[str, object]:
    """The request as the provider gets it, sent by ourselves: what the first token costs with nothing in between."""
    texts = [SYSTEM, *(said(number) for number in range(length(context))), QUESTION]
    return {"model": ANSWER, "stream": True, "messages": [{"role": "user", "content": text} for text in texts]}


async def measure(target: Target, steps: int, warm_up: int = _WARM_UP) -> Cost:
    """The cost of one step, over `steps` of them after a warm-up."""
    data = orjson.dumps(target.body)
    for _ in range(warm_up):
        warm = await target.connection.send("POST", target.path, data)
        if warm.status != 200:
            raise RuntimeError(f"{target.path} answered {warm.status}: {warm.body[:500]!r}")
    before = target.program.cpu()
    answers = [await target.connection.send("POST", target.path, data, TOKEN) for _ in range(steps)]
    used = target.program.cpu() - before
    wall = middle([answer.total for answer in answers])
    first = middle([answer.total if answer.first is None else answer.first for answer in answers])
    return Cost(used / steps * 1e3, wall * 1e3, first * 1e3)


def _rows(context: int, costs: dict[str, list[Cost]]) -> list[Row]:
    def typical(name: str, what: str) -> float:
        return middle([getattr(cost, what) for cost in costs[name]])

    direct, shown = typical("direct", "first"), f"{context // 1000}k" if context >= 1000 else str(context)
    return [
        Row(
            f"CPU per streamed step, {shown} tokens",
            "ms",
            typical("ours", "cpu"),
            typical("floor", "cpu"),
            aim=4.0 if context == 8_000 else None,
            aim_ratio=4.0,
        ),
        Row(f"CPU per step as JSON, {shown} tokens", "ms", typical("json", "cpu"), typical("floor", "cpu")),
        Row(f"wall per streamed step, {shown} tokens", "ms", typical("ours", "wall"), typical("floor", "wall")),
        Row(
            f"added time to first token, {shown} tokens",
            "ms",
            max(0.0, typical("ours", "first") - direct),
            max(0.0, typical("floor", "first") - direct),
        ),
    ]
