"""Cost follows the window, never the history: the same step with few and with very many messages stored."""

from contextlib import AsyncExitStack
from pathlib import Path

from benchmarks import programs, seed
from benchmarks.programs import Program
from benchmarks.sizes import Sizes
from benchmarks.steps import ANSWER, Cost, Target, measure
from benchmarks.table import Row, middle
from benchmarks.talk import QUESTION

LIMIT = 1.2
"""How many times the step of a short history the step of a long one may cost."""


async def run(sizes: Sizes, folder: Path) -> list[Row]:
    """Two servers, alike but for what is stored: here "floor" is the one with the short history."""
    context = sizes.contexts[0]
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(programs.provider())
        targets, pages = {}, {}
        for stored in sizes.histories:
            home = folder / str(stored)
            agent_id = await _seeded(home, upstream, stored, min(context, stored * 200))
            server = await stack.enter_async_context(programs.server(home, upstream))
            connection, path = await server.connect(), f"/v1/agents/{agent_id}/messages"
            targets[stored] = Target(connection, server, f"{path}/stream", {"input": QUESTION, "stream_tokens": True})
            pages[stored] = path
        first = {stored: (await measure(target, 1, warm_up=0)).wall for stored, target in targets.items()}
        costs: dict[int, list[Cost]] = {stored: [] for stored in targets}
        listed: dict[int, list[float]] = {stored: [] for stored in targets}
        for number in range(sizes.rounds * 2):
            # Whoever comes first in a round starts with colder caches.
            for stored in sizes.histories if number % 2 else sizes.histories[::-1]:
                target = targets[stored]
                costs[stored].append(await measure(target, sizes.steps))
                page = await target.connection.get(f"{pages[stored]}?limit=50")
                listed[stored].append(page.total * 1e3)
    few, many = sizes.histories
    shown = f"{many:,} against {few:,} stored messages"
    return [
        _row(f"CPU per step, {shown}", [cost.cpu for cost in costs[many]], [cost.cpu for cost in costs[few]]),
        _row(f"wall per step, {shown}", [cost.wall for cost in costs[many]], [cost.wall for cost in costs[few]]),
        _row(f"list 50 messages, {shown}", listed[many], listed[few]),
        Row(f"first step after a start, {shown}", "ms", first[many], first[few]),
    ]


def _row(what: str, many: list[float], few: list[float]) -> Row:
    return Row(what, "ms", middle(many), middle(few), aim_ratio=LIMIT)


async def _seeded(home: Path, upstream: Program, stored: int, context: int) -> str:
    async with seed.opened(home, upstream) as server:
        [agent_id] = await seed.make_agents(server, ANSWER, 1)
        await seed.give_history(server, agent_id, stored=stored, context=context)
    return agent_id
