"""The plain requests: making, listing and changing things on a server that holds many agents."""

from contextlib import AsyncExitStack
from pathlib import Path

from benchmarks import programs, seed
from benchmarks.programs import Program
from benchmarks.sizes import Sizes
from benchmarks.steps import ANSWER
from benchmarks.table import Row, middle, percentile
from benchmarks.wire import Connection

_BLOCKS = [{"label": "human", "limit": 2000, "value": "Name: Bob"}, {"label": "persona", "value": "I am kind."}]


async def run(sizes: Sizes, folder: Path) -> list[Row]:
    """Requests that only read, against the floor's empty answer; those that write, against its fsynced row."""
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(programs.provider())
        agent_id = await _seeded(sizes, folder, upstream)
        ours = await (await stack.enter_async_context(programs.server(folder, upstream))).connect()
        floor = await (await stack.enter_async_context(programs.floor(folder, upstream))).connect()
        made = {"name": "new", "model": f"openai/{ANSWER}", "memory_blocks": _BLOCKS}
        agent, listed = f"/v1/agents/{agent_id}", f"{sizes.agents:,} agents"
        cases: dict[str, tuple[str, str, object, float | None]] = {
            "create an agent with two blocks": ("POST", "/v1/agents/", made, 5.0),
            "change a block": ("PATCH", f"{agent}/core-memory/blocks/human", {"value": "Name: Bob"}, None),
            f"list 50 of {listed}": ("GET", "/v1/agents/?limit=50", None, 10.0),
            f"list 50 of {listed}, with tags alone": ("GET", "/v1/agents/?limit=50&include=agent.tags", None, None),
            f"find one of {listed} by name": ("GET", "/v1/agents/?name=nobody", None, None),
            "retrieve an agent": ("GET", agent, None, None),
            "list 50 of 200 messages": ("GET", f"{agent}/messages?limit=50", None, None),
            "list 50 blocks": ("GET", "/v1/blocks/?limit=50", None, None),
            "health": ("GET", "/v1/health", None, None),
        }
        rows = []
        for what, (method, path, body, aim) in cases.items():
            seen = await _times(sizes, ours, floor, method, path, body)
            rows.append(Row(f"{what}, p50", "ms", middle(seen[0]), middle(seen[1]), aim=aim))
            if method == "POST":
                rows.append(Row(f"{what}, p95", "ms", percentile(seen[0], 0.95), percentile(seen[1], 0.95)))
    return rows


async def _seeded(sizes: Sizes, folder: Path, upstream: Program) -> str:
    async with seed.opened(folder, upstream) as server:
        ids = await seed.make_agents(server, ANSWER, sizes.agents)
        await seed.give_history(server, ids[-1], stored=200, context=8_000)
    return ids[-1]


async def _times(
    sizes: Sizes, ours: Connection, floor: Connection, method: str, path: str, body: object
) -> tuple[list[float], list[float]]:
    """Milliseconds of each request, ours and the floor's by turns."""
    least = ("GET", "/health", None) if method == "GET" else ("POST", "/write", body)
    seen: tuple[list[float], list[float]] = ([], [])
    for number in range(sizes.requests + 5):
        told = {"value": f"Name: Bob {number}"} if method == "PATCH" else body
        answers = await ours.ask(method, path, told), await floor.ask(*least)
        if answers[0].status != 200:
            raise RuntimeError(f"{method} {path} answered {answers[0].status}: {answers[0].body[:500]!r}")
        if number >= 5:
            seen[0].append(answers[0].total * 1e3)
            seen[1].append(answers[1].total * 1e3)
    return seen
