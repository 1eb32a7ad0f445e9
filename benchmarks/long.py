"""A conversation far longer than the model's window: thousands of turns, compacted again and again on the way."""

from contextlib import AsyncExitStack
from pathlib import Path

import orjson

from benchmarks import programs, seed
from benchmarks.history import LIMIT
from benchmarks.programs import Program
from benchmarks.sizes import Sizes
from benchmarks.steps import ANSWER
from benchmarks.table import Row, middle
from benchmarks.talk import said
from benchmarks.wire import Connection

WINDOW = 8_000


async def run(sizes: Sizes, folder: Path) -> list[Row]:
    """The last turns against the first that run in a full window; here "floor" is the beginning.

    A tenth of the turns make one number, and the first tenth does not count: the window fills during it.
    """
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(programs.provider())
        agent_id = await _agent(folder, upstream)
        server = await stack.enter_async_context(programs.server(folder, upstream))
        connection, path = await server.connect(), f"/v1/agents/{agent_id}/messages"
        part = max(1, sizes.long_turns // 10)
        costs = [await _talk(connection, server, path, number * part, part) for number in range(10)]
        summaries = await _summaries(connection, path)
    shown = f"end against start of {20 * part:,} messages, {WINDOW // 1000}k window"
    cpu, wall = [cost[0] for cost in costs], [cost[1] for cost in costs]
    return [
        Row(f"CPU per turn, {shown}", "ms", cpu[-1], cpu[1], aim_ratio=LIMIT),
        Row(f"wall per turn, {shown}", "ms", wall[-1], wall[1], aim_ratio=LIMIT),
        Row("compactions on the way", "", float(summaries)),
    ]


async def _agent(folder: Path, upstream: Program) -> str:
    async with seed.opened(folder, upstream) as server:
        [agent_id] = await seed.make_agents(server, ANSWER, 1, context_window_limit=WINDOW)
    return agent_id


async def _talk(connection: Connection, server: Program, path: str, first: int, turns: int) -> tuple[float, float]:
    """Milliseconds of CPU (mean) and of wall time (median) per turn."""
    before, walls = server.cpu(), []
    for number in range(first, first + turns):
        answer = await connection.send("POST", path, orjson.dumps({"input": said(number)}))
        if answer.status != 200 or orjson.loads(answer.body)["stop_reason"]["stop_reason"] != "end_turn":
            raise RuntimeError(f"turn {number} was answered {answer.status}: {answer.body[:500]!r}")
        walls.append(answer.total * 1e3)
    return (server.cpu() - before) / turns * 1e3, middle(walls)


async def _summaries(connection: Connection, path: str) -> int:
    """How many summaries the whole conversation holds, read as a user would: page by page."""
    found, after = 0, ""
    while True:
        answer = await connection.get(f"{path}?order=asc&limit=1000{after}")
        page = orjson.loads(answer.body)
        if not page:
            return found
        # A summary is shown as a user's message, and is none of those that were sent.
        asked = [message["content"] for message in page if message["message_type"] == "user_message"]
        found += sum(not text.startswith("Note ") for text in asked)
        after = f"&after={page[-1]['id']}"
