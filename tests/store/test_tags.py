"""The list of tags."""

import pytest
from sqlalchemy import Connection
from tests.store.seeds import an_agent

from letta.store import agents, tags
from letta.store.access import Database


async def tagged(database: Database, *lists: list[str]) -> None:
    def seed(connection: Connection) -> None:
        for names in lists:
            agents.write_tags(connection, an_agent(connection), names)

    await database.write(seed)


async def test_each_tag_is_listed_once_by_name(database: Database) -> None:
    await tagged(database, ["work", "alpha"], ["work", "beta"], [])
    assert await database.read(tags.list_page) == ["alpha", "beta", "work"]


async def test_descending_order_turns_the_list_round(database: Database) -> None:
    await tagged(database, ["a", "b", "c"])
    assert await database.read(tags.list_page, order="desc") == ["c", "b", "a"]


@pytest.mark.parametrize(
    ("order", "after", "before", "expected"),
    [
        ("asc", "b", None, ["c", "d"]),
        ("asc", None, "d", ["b", "c"]),
        ("asc", "a", "d", ["b", "c"]),
        ("desc", "c", None, ["b", "a"]),
        ("desc", None, "a", ["c", "b"]),
        ("asc", "bb", None, ["c", "d"]),
        ("asc", "d", None, []),
    ],
)
async def test_cursors_are_tags_in_the_asked_order(
    database: Database, order: str, after: str | None, before: str | None, expected: list[str]
) -> None:
    await tagged(database, ["a", "b", "c", "d"])
    found = await database.read(
        lambda connection: tags.list_page(connection, order=order, after=after, before=before, limit=2)  # type: ignore[arg-type]
    )
    assert found == expected


async def test_a_part_of_the_name_is_found_in_any_case_and_wildcards_are_plain_characters(database: Database) -> None:
    await tagged(database, ["Project-X", "my project", "100%", "other"])
    assert await database.read(tags.list_page, containing="project") in (
        ["Project-X", "my project"],
        ["my project", "Project-X"],
    )
    assert await database.read(tags.list_page, containing="%") == ["100%"]
