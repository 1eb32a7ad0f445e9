"""Notices: heard here, heard by another replica that waits, and known not to arrive where they do not."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import pytest
from sqlalchemy import text

from letta.store.access import Database
from letta.store.database import open_database
from letta.store.notices import Notices, rung

TOPIC = "run:run-1"


@asynccontextmanager
async def a_replica(url: str, direct_url: str | None = None) -> AsyncIterator[tuple[Notices, Database]]:
    database = await open_database(url)
    notices = database.notices(direct_url)
    await notices.open()
    try:
        yield notices, database
    finally:
        await notices.close()
        await database.close()


async def until(check: Callable[[], bool], seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not check():  # noqa: ASYNC110 - there is no event for what others do
            await asyncio.sleep(0.01)


async def test_who_watches_a_topic_is_woken_by_it_and_by_no_other() -> None:
    notices = Notices()
    with notices.watch(TOPIC) as bell, notices.watch("run:run-2") as other:
        notices.tell(TOPIC)
        assert (await rung(bell, 5), other.is_set()) == (True, False)
        bell.clear()
        assert not await rung(bell, 0.001)


async def test_listeners_hear_every_topic_with_their_prefix() -> None:
    notices, heard = Notices(), list[str]()
    notices.listen("run:", heard.append)
    for topic in (TOPIC, "cancel:run-1", "run:run-2"):
        notices.tell(topic)
    assert heard == [TOPIC, "run:run-2"]


async def test_replica_that_waits_is_told_and_the_one_that_knows_is_asked(postgres_url: str) -> None:
    asked: list[str] = []
    async with a_replica(postgres_url) as (here, _), a_replica(postgres_url) as (there, _):
        assert (here.reach, there.reach) == (True, True)
        there.when_wanted("run:", asked.append)
        with here.watch(TOPIC) as bell:
            await until(lambda: asked == [TOPIC])
            for _ in range(3):
                bell.clear()
                there.tell(TOPIC)
                assert await rung(bell, 10)


async def test_topic_nobody_waits_for_elsewhere_is_not_sent_unless_it_is_for_everybody(postgres_url: str) -> None:
    heard: list[str] = []
    async with a_replica(postgres_url) as (here, _), a_replica(postgres_url) as (there, _):
        here.listen("", heard.append)
        there.tell(TOPIC)
        there.tell("providers", everybody=True)
        await until(lambda: bool(heard))
    assert heard == ["providers"]


async def test_many_topics_at_once_arrive_though_one_notice_is_short(postgres_url: str) -> None:
    topics = {f"run:run-{number:040}" for number in range(1_000)}
    heard: set[str] = set()
    async with a_replica(postgres_url) as (here, _), a_replica(postgres_url) as (there, _):
        here.listen("run:", heard.add)
        for topic in topics:
            there.tell(topic, everybody=True)
        await until(lambda: heard == topics)


async def test_lost_connection_is_made_again(postgres_url: str) -> None:
    heard: list[str] = []
    async with a_replica(postgres_url) as (here, _), a_replica(postgres_url) as (there, database):
        here.listen("again", heard.append)
        await database.write(
            lambda connection: connection.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE pid <> pg_backend_pid() AND query LIKE 'LISTEN%'"
                )
            )
        )
        await until(lambda: not here.reach)
        await until(lambda: here.reach and there.reach)
        there.tell("again", everybody=True)
        await until(lambda: heard == ["again"])


async def pooled(path: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Stand between a client and PostgreSQL and deliver no notices, like a pooler in transaction mode."""
    upstream, upwriter = await asyncio.open_unix_connection(path)

    async def forward() -> None:
        while data := await reader.read(65536):
            upwriter.write(data)
        upwriter.close()

    forwarding = asyncio.create_task(forward())
    try:
        while True:
            head = await upstream.readexactly(5)
            body = await upstream.readexactly(int.from_bytes(head[1:]) - 4)
            if head[:1] != b"A":
                writer.write(head + body)
    except (asyncio.IncompleteReadError, ConnectionError):
        forwarding.cancel()
    finally:
        for end in (writer, upwriter):
            end.close()
            with suppress(ConnectionError):
                await end.wait_closed()


@pytest.fixture
async def pooled_url(postgres_url: str) -> AsyncIterator[str]:
    path = f"{postgres_url.partition('host=')[2]}/.s.PGSQL.5432"
    busy: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        busy.add(asyncio.create_task(pooled(path, reader, writer)))

    async with await asyncio.start_server(connected, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        yield f"postgresql://postgres@127.0.0.1:{port}/postgres?ssl=disable"
        await asyncio.gather(*busy)


async def test_behind_a_pooler_that_delivers_nothing_a_replica_knows_that_it_must_poll(pooled_url: str) -> None:
    async with a_replica(pooled_url) as (here, _):
        assert not here.reach


async def test_behind_a_pooler_a_direct_url_hears(pooled_url: str, postgres_url: str) -> None:
    heard: list[str] = []
    async with a_replica(pooled_url, postgres_url) as (here, _), a_replica(pooled_url, postgres_url) as (there, _):
        assert here.reach
        here.listen("providers", heard.append)
        there.tell("providers", everybody=True)
        await until(lambda: heard == ["providers"])
