"""Times of schedules, with a clock that a test moves: each counts once, whatever the clock and the processes do."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, select, update
from tests.runtime.test_runner import until
from tests.serving import serve
from tests.store.seeds import a_run, an_agent

from letta.errors import InvalidValue, NotFound
from letta.runtime.cron import check
from letta.runtime.schedules import Schedules
from letta.schemas.schedules import CreateSchedule, Outcome
from letta.store import agents, schedules
from letta.store.access import Database
from letta.store.tables import agents as agent_rows
from letta.store.tables import conversations, runs
from letta.store.tables import schedules as schedule_rows

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
"""A Monday."""


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self, moment: datetime = NOON) -> None:
        self.moment = moment

    def __call__(self) -> datetime:
        return self.moment

    def pass_(self, **time: float) -> None:
        self.moment += timedelta(**time)


def hourly(**fields: Any) -> CreateSchedule:
    given = {
        "messages": [{"role": "user", "content": "Look around."}],
        "schedule": {"type": "recurring", "cron_expression": "0 * * * *"},
        **fields,
    }
    return CreateSchedule.model_validate(given)


def keeper(database: Database, clock: Callable[[], datetime]) -> Schedules:
    return Schedules(database, lambda: None, clock=clock)


def started(connection: Connection, agent_id: str) -> list[tuple[str, str | None, str]]:
    found = connection.execute(select(runs).where(runs.c.agent_id == agent_id).order_by(runs.c.created_at, runs.c.id))
    return [(row.status, row.owner, row.request["messages"][0]["content"]) for row in found]


def end_all(connection: Connection) -> None:
    connection.execute(update(runs).values(status="completed"))


async def history(database: Database, agent_id: str, schedule_id: str) -> list[tuple[str, str, int]]:
    found, _ = await database.read(schedules.history, agent_id, schedule_id, None, 100)
    return [(f"{one.due_at:%d %H:%M}", one.outcome.value, one.missed) for one in found]


async def until_next(database: Database, agent_id: str, schedule_id: str, expected: datetime) -> None:
    async with asyncio.timeout(5):
        while (await database.read(schedules.get, agent_id, schedule_id)).next_scheduled_time != expected:  # noqa: ASYNC110 - only the database knows
            await asyncio.sleep(0.01)


async def test_a_time_becomes_a_run_that_belongs_to_nobody_and_the_next_time_is_known(database: Database) -> None:
    clock, agent_id = Clock(), await database.write(an_agent)
    times = keeper(database, clock)
    made = await times.create(agent_id, hourly())
    assert made.next_scheduled_at == NOON + timedelta(hours=1)
    await times.act()
    assert await database.read(started, agent_id) == []
    clock.pass_(hours=1, seconds=2)
    await times.act()
    await times.act()
    assert await database.read(started, agent_id) == [("created", None, "Look around.")]
    assert await history(database, agent_id, made.id) == [("02 13:00", "started", 0)]
    shown = await database.read(schedules.get, agent_id, made.id)
    assert shown.next_scheduled_time == NOON + timedelta(hours=2)


async def test_many_processes_act_on_a_time_once(database: Database) -> None:
    clock, agent_id = Clock(), await database.write(an_agent)
    made = await keeper(database, clock).create(agent_id, hourly())
    for hour in range(1, 6):
        clock.moment = NOON + timedelta(hours=hour)
        await asyncio.gather(*(keeper(database, clock).act() for _ in range(5)))
        await database.write(end_all)
    assert len(await database.read(started, agent_id)) == 5
    assert await history(database, agent_id, made.id) == [
        (f"02 {12 + hour}:00", "started", 0) for hour in range(5, 0, -1)
    ]


@pytest.mark.parametrize(
    ("catch_up", "expected", "count"), [("once", "started", 1), ("skip", "skipped", 0)], ids=["once", "skip"]
)
async def test_times_missed_while_no_server_ran_count_once_or_not_at_all(
    database: Database, catch_up: str, expected: str, count: int
) -> None:
    clock, agent_id = Clock(), await database.write(an_agent)
    made = await keeper(database, clock).create(agent_id, hourly(catch_up=catch_up))
    clock.pass_(hours=50, minutes=30)
    await keeper(database, clock).act()
    assert len(await database.read(started, agent_id)) == count
    assert await history(database, agent_id, made.id) == [("04 14:00", expected, 49)]
    shown = await database.read(schedules.get, agent_id, made.id)
    assert shown.next_scheduled_time == NOON + timedelta(hours=51)


async def test_a_one_time_schedule_that_was_missed_is_late_and_has_no_next_time(database: Database) -> None:
    clock, agent_id = Clock(), await database.write(an_agent)
    at = (NOON + timedelta(minutes=5)).timestamp() * 1000
    made = await keeper(database, clock).create(agent_id, hourly(schedule={"scheduled_at": at}))
    clock.pass_(days=3)
    await keeper(database, clock).act()
    await keeper(database, clock).act()
    assert len(await database.read(started, agent_id)) == 1
    shown = await database.read(schedules.get, agent_id, made.id)
    assert shown.next_scheduled_time is None
    assert shown.schedule.model_dump() == {"type": "one-time", "scheduled_at": at}


async def test_a_clock_that_jumps_ahead_and_back_repeats_nothing_and_loses_nothing(database: Database) -> None:
    clock, agent_id = Clock(), await database.write(an_agent)
    times = keeper(database, clock)
    made = await times.create(agent_id, hourly())
    clock.pass_(hours=1)
    await times.act()
    await database.write(end_all)
    clock.pass_(days=365)  # somebody set the wrong year
    await times.act()
    await database.write(end_all)
    clock.moment = NOON + timedelta(minutes=30)  # and set it right, half an hour too far back
    again = keeper(database, clock)
    again.start()
    await until_next(database, agent_id, made.id, NOON + timedelta(hours=1))
    await again.stop()
    clock.moment = NOON + timedelta(hours=1)  # comes a second time
    await times.act()
    assert len(await database.read(started, agent_id)) == 2
    clock.moment = NOON + timedelta(hours=2)
    await times.act()
    assert len(await database.read(started, agent_id)) == 3


async def test_a_cron_expression_is_read_in_the_zone_of_the_agent_and_follows_it(database: Database) -> None:
    clock = Clock()
    agent_id = await database.write(an_agent, timezone="Asia/Tokyo")
    daily = {"type": "recurring", "cron_expression": "0 8 * * *"}
    made = await keeper(database, clock).create(agent_id, hourly(schedule=daily))
    own = await keeper(database, clock).create(agent_id, hourly(schedule={**daily, "timezone": "Europe/Berlin"}))
    assert made.next_scheduled_at == datetime(2026, 3, 2, 23, tzinfo=UTC)
    assert own.next_scheduled_at == datetime(2026, 3, 3, 7, tzinfo=UTC)
    await database.write(lambda c: c.execute(update(agent_rows).values(timezone="America/New_York")) and None)
    times = keeper(database, clock)
    times.start()
    expected = datetime(2026, 3, 2, 13, tzinfo=UTC)
    await until_next(database, agent_id, made.id, expected)
    await times.stop()
    shown = await database.read(schedules.get, agent_id, own.id)
    assert shown.next_scheduled_time == own.next_scheduled_at
    assert shown.schedule.model_dump() == {**daily, "timezone": "Europe/Berlin"}


@pytest.mark.parametrize(
    ("zone", "expression", "start", "expected"),
    [
        # Berlin leaves 2:30 out on 29 March: it runs when that hour would have ended.
        ("Europe/Berlin", "30 2 * * *", "2026-03-28T12:00Z", "2026-03-29T01:00Z"),
        # 2:30 comes twice on 25 October: it runs the first time only.
        ("Europe/Berlin", "30 2 * * *", "2026-10-25T00:31Z", "2026-10-26T01:30Z"),
        ("UTC", "@daily", "2026-10-25T00:31Z", "2026-10-26T00:00Z"),
        ("UTC", "0 0 29 2 *", "2026-10-25T00:31Z", "2028-02-29T00:00Z"),
    ],
)
def test_expressions_keep_their_meaning_where_clocks_change(
    zone: str, expression: str, start: str, expected: str
) -> None:
    assert check(expression, zone, datetime.fromisoformat(start)) == datetime.fromisoformat(expected)


@pytest.mark.parametrize("expression", ["every day", "* * * *", "61 * * * *", "0 0 30 2 *", "* * * * * *", "@reboot"])
def test_expressions_that_never_come_true_are_refused(expression: str) -> None:
    with pytest.raises(InvalidValue, match="cron_expression"):
        check(expression, "UTC", NOON)


async def test_a_time_is_left_out_while_the_run_before_still_waits(database: Database) -> None:
    clock, agent_id = Clock(), await database.write(an_agent)
    times = keeper(database, clock)
    made = await times.create(agent_id, hourly())
    for hour in (1, 2):
        clock.moment = NOON + timedelta(hours=hour)
        await times.act()
    assert await history(database, agent_id, made.id) == [("02 14:00", "skipped", 0), ("02 13:00", "started", 0)]


@pytest.mark.parametrize(("when_busy", "expected"), [("enqueue", "started"), ("skip", "skipped")])
async def test_a_busy_agent_gets_the_message_later_or_not_at_all(
    database: Database, when_busy: str, expected: str
) -> None:
    clock, agent_id = Clock(), await database.write(an_agent)
    await database.write(lambda connection: a_run(connection, agent_id, status="running"))
    times = keeper(database, clock)
    made = await times.create(agent_id, hourly(when_busy=when_busy))
    clock.pass_(hours=1)
    await times.act()
    assert await history(database, agent_id, made.id) == [("02 13:00", expected, 0)]


async def test_an_agent_that_waits_for_an_approval_refuses_and_history_says_so(database: Database) -> None:
    clock, agent_id = Clock(), await database.write(an_agent)
    times = keeper(database, clock)
    made = await times.create(agent_id, hourly())
    await database.write(lambda c: c.execute(update(conversations).values(pending_message_id="message-1")) and None)
    clock.pass_(hours=1)
    await times.act()
    [one], _ = await database.read(schedules.history, agent_id, made.id, None, 10)
    assert (one.outcome, one.run_id) == (Outcome.REFUSED, None)
    assert "approval" in (one.detail or "")


async def test_a_deleted_agent_takes_its_schedules_along(database: Database) -> None:
    clock, agent_id = Clock(), await database.write(an_agent)
    times = keeper(database, clock)
    made = await times.create(agent_id, hourly())
    clock.pass_(hours=1)
    await times.act()
    await database.write(agents.remove, agent_id)
    clock.pass_(hours=1)
    await times.act()
    assert await database.read(lambda c: c.execute(select(schedule_rows)).all()) == []
    with pytest.raises(NotFound):
        await database.read(schedules.history, agent_id, made.id, None, 10)


async def test_only_the_newest_times_are_remembered(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedules, "KEPT", 3)
    clock, agent_id = Clock(), await database.write(an_agent)
    times = keeper(database, clock)
    made = await times.create(agent_id, hourly())
    for _ in range(5):
        clock.pass_(hours=1)
        await times.act()
        await database.write(end_all)
    assert await history(database, agent_id, made.id) == [(f"02 {hour}:00", "started", 0) for hour in (17, 16, 15)]


async def test_two_servers_carry_out_each_time_once(tmp_path: Path, postgres_url: str) -> None:
    shared: dict[str, Any] = {"database_url": postgres_url, "encryption_key": "one for all"}
    async with serve(tmp_path / "a", **shared) as here, serve(tmp_path / "b", **shared) as there:
        made = [await here.agent(name=f"agent {number}") for number in range(10)]
        at = time.time() * 1000 + 200
        for agent in made:
            body = {"messages": [{"role": "user", "content": "hello"}], "schedule": {"scheduled_at": at}}
            answer = await here.http.post(f"/v1/agents/{agent['id']}/schedule", json=body)
            assert answer.status_code == 201
        wanted: dict[str, Any] = {"agent_ids": [agent["id"] for agent in made], "limit": 1000}

        async def all_ended() -> bool:
            found = (await there.http.get("/v1/runs", params=wanted)).json()
            return len(found) >= len(made) and all(run["completed_at"] for run in found)

        await until(all_ended)
        runs_there = (await there.http.get("/v1/runs", params=wanted)).json()
    assert sorted(run["agent_id"] for run in runs_there) == sorted(agent["id"] for agent in made)
    assert {run["status"] for run in runs_there} == {"completed"}
