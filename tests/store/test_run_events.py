"""What runs showed: stored in order, read from any point, forgotten with the run or when it is too old."""

from sqlalchemy import Connection, select
from tests.store.seeds import a_run, an_agent, at

from letta.store import agents, run_events
from letta.store.access import Database
from letta.store.run_events import Batch, Stored
from letta.store.tables import run_events as rows
from letta.store.tables import runs as run_rows


def a_story(connection: Connection) -> tuple[str, str]:
    """An agent and its run of two attempts."""
    agent_id = an_agent(connection)
    run_id = a_run(connection, agent_id, status="running", attempt=2)
    run_events.add(connection, run_id, agent_id, 1, [Batch(0, "[a]"), Batch(3, "[b]")])
    run_events.add(connection, run_id, agent_id, 2, [Batch(0, "[c]")])
    return agent_id, run_id


def left(connection: Connection) -> list[str]:
    return list(connection.execute(select(rows.c.data).order_by(rows.c.data)).scalars())


async def test_events_are_read_in_order_from_any_point_of_any_attempt(database: Database) -> None:
    _, run_id = await database.write(a_story)
    first, second, third = Stored(1, 0, "[a]"), Stored(1, 3, "[b]"), Stored(2, 0, "[c]")
    for (attempt, seq), expected in {(1, 0): [first, second, third], (1, 1): [second, third], (1, 4): [third]}.items():
        assert await database.read(run_events.after, run_id, attempt, seq, 10) == expected
    assert await database.read(run_events.after, run_id, 1, 0, 10, 2) == [first, second]
    assert await database.read(run_events.after, run_id, 1, 0, 2) == [first, second]


async def test_events_that_are_stored_already_stay_as_they_are(database: Database) -> None:
    agent_id, run_id = await database.write(a_story)
    await database.write(run_events.add, run_id, agent_id, 1, [Batch(3, "[other]"), Batch(7, "[d]")])
    assert await database.read(left) == ["[a]", "[b]", "[c]", "[d]"]


async def test_progress_changes_with_every_thing_a_reader_wants_to_see(database: Database) -> None:
    agent_id, run_id = await database.write(a_story)
    seen = await database.read(run_events.progress, [run_id, "run-none"])
    assert {key: tuple(value) for key, value in seen.items()} == {run_id: (2, "running", None, 0)}
    await database.write(run_events.add, run_id, agent_id, 2, [Batch(5, "[d]")])
    assert (await database.read(run_events.progress, [run_id]))[run_id].latest == 5


async def test_only_runs_that_ended_long_enough_ago_are_forgotten(database: Database) -> None:
    def runs_of_all_ages(connection: Connection) -> None:
        agent_id = an_agent(connection)
        for name, seconds, ended in (
            ("old", 10, at(20)),
            ("long", 10, at(50)),
            ("open", 10, None),
            ("new", 40, at(50)),
        ):
            run_id = a_run(connection, agent_id, status="completed" if ended else "running", completed_at=ended)
            run_events.add(connection, run_id, agent_id, 1, [Batch(0, name), Batch(1, name)])
            connection.execute(rows.update().where(rows.c.run_id == run_id).values(created_at=at(seconds)))
        gone = a_run(connection, agent_id)
        run_events.add(connection, gone, agent_id, 1, [Batch(0, "of a deleted run")])
        connection.execute(rows.update().where(rows.c.run_id == gone).values(created_at=at(10)))
        connection.execute(run_rows.delete().where(run_rows.c.id == gone))

    await database.write(runs_of_all_ages)
    assert await database.write(run_events.purge, at(30), 100) == 3
    assert await database.read(left) == ["long", "long", "new", "new", "open", "open"]


async def test_events_of_a_deleted_agent_are_deleted(database: Database) -> None:
    agent_id, _ = await database.write(a_story)
    await database.write(agents.remove, agent_id)
    assert await database.read(left) == []
