"""Writers that come at the same time share a transaction on SQLite; nobody may notice."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import Connection, select
from tests.store.seeds import a_block

from letta.errors import NotFound
from letta.schemas.blocks import Block
from letta.store import blocks
from letta.store.access import Database
from letta.store.tables import blocks as rows


def _labels(connection: Connection) -> set[str]:
    return set(connection.execute(select(rows.c.label)).scalars())


def _fails_after_writing(connection: Connection) -> None:
    a_block(connection, "half written")
    raise NotFound("there is no such thing")


async def test_a_writer_that_fails_takes_back_its_own_work_alone(database: Database) -> None:
    good = [database.write(a_block, f"label {number}") for number in range(20)]
    bad = [database.write(_fails_after_writing) for _ in range(5)]
    mixed: list[Any] = [*good[:10], *bad, *good[10:]]
    outcomes = await asyncio.gather(*mixed, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [*[Block] * 10, *[NotFound] * 5, *[Block] * 10]
    assert await database.read(_labels) == {f"label {number}" for number in range(20)}


async def test_what_a_write_returned_is_there_for_the_next_reader(database: Database) -> None:
    async def write_then_read(number: int) -> str:
        made = await database.write(a_block, f"label {number}")
        return str((await database.read(blocks.get, made.id)).label)

    found = await asyncio.gather(*(write_then_read(number) for number in range(20)))
    assert found == [f"label {number}" for number in range(20)]


async def test_a_cancelled_writer_finishes_and_the_others_do_not_wait_for_it(database: Database) -> None:
    tasks = [asyncio.create_task(database.write(a_block, f"label {number}")) for number in range(5)]
    await asyncio.sleep(0)
    tasks[2].cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(outcomes[2], asyncio.CancelledError)
    assert {str(outcome.label) for outcome in outcomes if isinstance(outcome, Block)} == {
        f"label {number}" for number in (0, 1, 3, 4)
    }


async def test_one_writer_alone_gets_its_own_error(database: Database) -> None:
    with pytest.raises(NotFound, match="no such thing"):
        await database.write(_fails_after_writing)
    assert await database.read(_labels) == set()
