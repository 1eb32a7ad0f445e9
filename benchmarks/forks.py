"""Forking a conversation and going on in the fork: with few and with very many messages before it."""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import orjson
from sqlalchemy import Connection, event

from benchmarks import programs, seed
from benchmarks.history import LIMIT
from benchmarks.sizes import Sizes
from benchmarks.steps import ANSWER
from benchmarks.table import Row, middle
from benchmarks.talk import QUESTION
from benchmarks.wire import Connection as Wire
from letta.schemas.common import new_id
from letta.store import forks


async def run(sizes: Sizes, folder: Path) -> list[Row]:
    """One server with two agents, alike but for what is stored: here "floor" is the one with the short history."""
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(programs.provider())
        async with seed.opened(folder, upstream) as server:
            ids = await seed.make_agents(server, ANSWER, len(sizes.histories))
            agents = dict(zip(sizes.histories, ids, strict=True))
            context = min(sizes.contexts[0], sizes.histories[0] * 200)
            statements = {}
            for stored, agent_id in agents.items():
                await seed.give_history(server, agent_id, stored=stored, context=context)
                statements[stored] = await server.database.write(_statements, agent_id)
        connection = await (await stack.enter_async_context(programs.server(folder, upstream))).connect()
        times: dict[int, list[list[float]]] = {stored: [] for stored in agents}
        for number in range(sizes.requests + 3):
            # Whoever comes first in a round starts with colder caches.
            for stored in sizes.histories if number % 2 else sizes.histories[::-1]:
                taken = await _once(connection, agents[stored])
                if number >= 3:
                    times[stored].append(taken)
    few, many = sizes.histories
    shown = f"{many:,} against {few:,} stored messages"
    rows = [
        Row(f"{what}, {shown}", "ms", _middle(times[many], place), _middle(times[few], place), aim_ratio=LIMIT)
        for place, what in enumerate(("fork", "first message in a fork", "list 50 messages of a fork"))
    ]
    return [*rows, Row(f"statements of a fork, {shown}", "", statements[many], statements[few], aim_ratio=1.0)]


def _middle(times: Sequence[Sequence[float]], place: int) -> float:
    return middle([taken[place] for taken in times])


async def _once(connection: Wire, agent_id: str) -> list[float]:
    """Milliseconds of a fork, of a message in it, and of a page of its messages."""
    forked = await connection.ask("POST", f"/v1/conversations/default/fork?agent_id={agent_id}", None)
    path = f"/v1/conversations/{orjson.loads(forked.body)['id']}/messages"
    said = await connection.ask("POST", path, {"input": QUESTION})
    listed = await connection.get(f"{path}?limit=50")
    for answer in (forked, said, listed):
        if answer.status != 200:
            raise RuntimeError(f"{path} answered {answer.status}: {answer.body[:500]!r}")
    return [answer.total * 1e3 for answer in (forked, said, listed)]


def _statements(connection: Connection, agent_id: str) -> int:
    counted = 0

    def executed(*_: object) -> None:
        nonlocal counted
        counted += 1

    event.listen(connection, "before_cursor_execute", executed)
    forks.fork(connection, agent_id, new_id("conv"), hidden=True)
    event.remove(connection, "before_cursor_execute", executed)
    return counted
