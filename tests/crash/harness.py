"""Kill servers again and again while clients talk to them, then look at what is left."""

import asyncio
import random
import socket
from dataclasses import dataclass
from pathlib import Path

from tests.crash.checks import check, settle
from tests.crash.replicas import Kills, Replica, keep_killing
from tests.crash.talkers import MARK, Talker


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run of the harness did: everything it found wrong is an AssertionError instead."""

    kills: Kills
    messages: int
    streams: int
    retries: int

    def __str__(self) -> str:
        points = self.kills.at_points
        return (
            f"{self.kills.count} kills ({sum(points.values())} at {len(points)} points of the journal, "
            f"{self.kills.anywhere} anywhere), {self.messages} messages, {self.streams} streams, "
            f"{self.retries} requests sent again"
        )


async def run(
    folder: Path, *, kills: int, seed: int, talkers: int = 3, replicas: int = 1, database_url: str | None = None
) -> Outcome:
    """Kill servers `kills` times. With a PostgreSQL `database_url` there may be several replicas.

    Raises:
        AssertionError: something acknowledged is lost, done twice, broken or stuck.
    """
    chance = random.Random(seed)
    servers = [_replica(folder / f"replica-{number}", database_url) for number in range(replicas)]
    await servers[0].start(None)
    talking = [Talker(servers, random.Random(chance.random())) for _ in range(talkers)]
    for talker in talking:
        await _prepare(talker, servers[0])
    await servers[0].stop()
    told, tasks = Kills(), [asyncio.create_task(talker.talk()) for talker in talking]
    try:
        await asyncio.gather(*(keep_killing(server, told, kills, random.Random(chance.random())) for server in servers))
        for talker in talking:
            talker.stopped = True
        await asyncio.wait_for(asyncio.gather(*tasks), 120)
        await asyncio.gather(*(settle(talker) for talker in talking))
        for talker in talking:
            await check(talker)
    finally:
        for task in tasks:
            task.cancel()
        for server in servers:
            await server.stop()
    return Outcome(
        told,
        sum(len(talker.said) for talker in talking),
        sum(len(talker.streams) for talker in talking),
        sum(talker.retries for talker in talking),
    )


async def _prepare(talker: Talker, server: Replica) -> None:
    """An agent with an unsafe tool."""
    talker.replicas, everywhere = [server], talker.replicas
    tool = await talker.request("PUT", "/v1/tools/", {"source_code": MARK})
    assert tool is not None
    assert tool.status_code == 200, tool.text
    blocks = [{"label": "human", "value": "", "limit": 1_000_000}]
    body = {"model": "letta/scripted", "memory_blocks": blocks, "tool_ids": [tool.json()["id"]]}
    made = await talker.request("POST", "/v1/agents/", body)
    assert made is not None
    assert made.status_code == 200, made.text
    talker.agent_id = made.json()["id"]
    talker.replicas = everywhere


def _replica(folder: Path, database_url: str | None) -> Replica:
    folder.mkdir(parents=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return Replica(folder, free.getsockname()[1], database_url)
