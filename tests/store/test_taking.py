"""Runs that belong to nobody: each is taken by one process, the oldest of a conversation first."""

import asyncio
from typing import Any

from sqlalchemy import Connection, select, update
from tests.store.seeds import a_run, an_agent

from letta.store import runs
from letta.store.access import Database
from letta.store.tables import runs as run_rows


def waiting(connection: Connection, *agents: int) -> list[list[str]]:
    """Ids of unowned runs, so many for each agent, made in turns."""
    made: list[list[str]] = [[] for _ in agents]
    ids = [an_agent(connection) for _ in agents]
    for turn in range(max(agents)):
        for place, (agent_id, number) in enumerate(zip(ids, agents, strict=True)):
            if turn < number:
                seconds = turn * len(agents) + place
                run_id = a_run(connection, agent_id, seconds=seconds, status="created", owner=None, lease_until=None)
                made[place].append(run_id)
    return made


async def take(database: Database, owner: str, limit: int = 10) -> list[str]:
    return [work.id for work in await database.write(runs.take, owner, limit)]


def _end(connection: Connection, run_id: str) -> None:
    connection.execute(update(run_rows).where(run_rows.c.id == run_id).values(status="completed"))


def _owners(connection: Connection) -> dict[str, Any]:
    return {row.id: (row.status, row.owner) for row in connection.execute(select(run_rows))}


async def test_one_run_of_each_conversation_is_taken_the_oldest_first(database: Database) -> None:
    ada, bob = await database.write(waiting, 3, 1)
    assert await take(database, "me") == [ada[0], bob[0]]
    assert await take(database, "me") == []
    assert await database.read(runs.any_unowned)
    await database.write(_end, ada[0])
    assert await take(database, "another") == [ada[1]]
    assert await database.read(_owners) == {
        ada[0]: ("completed", "me"),
        ada[1]: ("created", "another"),
        ada[2]: ("created", None),
        bob[0]: ("created", "me"),
    }


async def test_no_more_are_taken_than_there_are_places_for(database: Database) -> None:
    made = await database.write(waiting, *[1] * 5)
    assert await take(database, "me", 3) == [run for [run] in made[:3]]
    assert await take(database, "me", 3) == [run for [run] in made[3:]]
    assert not await database.read(runs.any_unowned)


async def test_processes_that_look_at_the_same_time_take_different_runs(database: Database) -> None:
    made = await database.write(waiting, *[1] * 30)
    taken = await asyncio.gather(*(take(database, f"process {number}", 4) for number in range(10)))
    found = [run_id for ids in taken for run_id in ids]
    assert len(found) == len(set(found))
    while more := await take(database, "last", 30):
        found += more
    assert sorted(found) == sorted(run_id for ids in made for run_id in ids)


async def test_a_run_that_was_taken_is_taken_up_by_others_when_its_owner_is_gone(database: Database) -> None:
    [[run_id]] = await database.write(waiting, 1)
    assert await database.read(runs.abandoned) == []
    await take(database, "me")
    assert await database.read(runs.abandoned) == []
    await database.write(runs.release, "me")
    assert [work.id for work in await database.read(runs.abandoned)] == [run_id]
