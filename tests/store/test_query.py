"""Cursor paging: whatever the page size and the direction, a walk meets every row once."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, select
from tests.store.seeds import a_run, an_agent, at

from letta.errors import InvalidValue, NotFound
from letta.schemas.common import new_id
from letta.store.access import Database
from letta.store.query import Order, like, rows
from letta.store.tables import agents, runs

# The database is the same for all examples; each example works on the agents of a project of its own.
SHARED = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
# Few different moments, so that ties are the rule; None is an agent that never ran.
MOMENTS = st.lists(st.one_of(st.none(), st.integers(0, 3)), max_size=12)
ORDERS: st.SearchStrategy[Order] = st.sampled_from(["asc", "desc"])
# Taken modulo the number of rows.
PLACES = st.tuples(st.integers(0, 50), st.integers(0, 50))
SORTS = st.sampled_from(["last_run_completion", "created_at"])


def seed(connection: Connection, project: str, moments: Sequence[int | None]) -> set[str]:
    return {
        an_agent(connection, project_id=project, last_run_completion=None if moment is None else at(moment))
        for moment in moments
    }


def of_project(connection: Connection, project: str, **paging: Any) -> list[Any]:
    return list(rows(connection, select(agents).where(agents.c.project_id == project), agents, **paging))


def walk(connection: Connection, project: str, size: int, order: Order, sort: str, cursor: str) -> list[str]:
    """All ids, page by page: from the start with `after`, or from the end with `before`."""
    met: list[str] = []
    given: dict[str, Any] = {}
    while page := [row.id for row in of_project(connection, project, limit=size, order=order, sort=sort, **given)]:
        assert len(page) <= size
        met = [*met, *page] if cursor == "after" else [*page, *met]
        assert len(set(met)) == len(met), "a row came twice"
        given = {cursor: page[-1] if cursor == "after" else page[0]}
    return met


@SHARED
@given(moments=MOMENTS, size=st.integers(1, 5), order=ORDERS, sort=SORTS)
async def test_walking_forwards_meets_every_row_once_in_order(
    database: Database, moments: list[int | None], size: int, order: Order, sort: str
) -> None:
    project = new_id("project")
    ids = await database.write(seed, project, moments)
    met = await database.read(walk, project, size, order, sort, "after")
    whole = await database.read(lambda connection: of_project(connection, project, limit=None, order=order, sort=sort))
    assert met == [row.id for row in whole]
    assert set(met) == ids


@SHARED
@given(moments=MOMENTS.filter(bool), size=st.integers(1, 5), order=ORDERS, sort=SORTS, places=PLACES)
async def test_walking_back_from_any_row_meets_all_before_it_once_in_order(
    database: Database,
    moments: list[int | None],
    size: int,
    order: Order,
    sort: str,
    places: tuple[int, int],
) -> None:
    project = new_id("project")
    await database.write(seed, project, moments)

    def whole(connection: Connection) -> list[str]:
        return [row.id for row in of_project(connection, project, limit=None, order=order, sort=sort)]

    def back(connection: Connection, start: str) -> list[str]:
        met: list[str] = []
        while page := [
            row.id for row in of_project(connection, project, limit=size, order=order, sort=sort, before=start)
        ]:
            met, start = [*page, *met], page[0]
        return met

    listed = await database.read(whole)
    place = places[0] % len(listed)
    assert await database.read(back, listed[place]) == listed[:place]


@SHARED
@given(moments=MOMENTS.filter(bool), order=ORDERS, sort=SORTS, places=PLACES)
async def test_both_cursors_together_cut_out_what_lies_between_them(
    database: Database, moments: list[int | None], order: Order, sort: str, places: tuple[int, int]
) -> None:
    project = new_id("project")
    await database.write(seed, project, moments)

    def listed(connection: Connection, **cursors: str) -> list[str]:
        return [row.id for row in of_project(connection, project, limit=None, order=order, sort=sort, **cursors)]

    whole = await database.read(lambda connection: listed(connection))
    first, last = sorted(place % len(whole) for place in places)
    between = await database.read(lambda connection: listed(connection, after=whole[first], before=whole[last]))
    assert between == whole[first + 1 : last]


@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_rows_without_a_sort_value_come_last_in_both_orders(database: Database, order: Order) -> None:
    await database.write(seed, "one", [2, None, 1])
    found = await database.read(
        lambda connection: of_project(connection, "one", sort="last_run_completion", order=order)
    )
    assert [row.last_run_completion for row in found] == [*([at(1), at(2)] if order == "asc" else [at(2), at(1)]), None]


@pytest.mark.parametrize("cursor", ["after", "before"])
async def test_an_unknown_cursor_is_not_found(database: Database, cursor: str) -> None:
    with pytest.raises(NotFound, match=r"cursor 'run-0' not found"):
        await database.read(lambda connection: rows(connection, select(runs), runs, **{cursor: "run-0"}))  # type: ignore[arg-type]


async def test_an_unknown_sort_column_is_refused(database: Database) -> None:
    with pytest.raises(InvalidValue, match="order_by: 'nonsense'"):
        await database.read(lambda connection: rows(connection, select(runs), runs, sort="nonsense"))


async def test_a_row_that_was_deleted_meanwhile_leaves_the_rest_of_a_walk_as_it_was(database: Database) -> None:
    def story(connection: Connection) -> tuple[list[str], list[str]]:
        agent_id = an_agent(connection)
        ids = [a_run(connection, agent_id, seconds=second) for second in range(4)]
        connection.execute(runs.delete().where(runs.c.id == ids[2]))
        rest = rows(connection, select(runs), runs, order="asc", after=ids[1])
        return ids, [row.id for row in rest]

    ids, rest = await database.write(story)
    assert rest == [ids[3]]


@pytest.mark.parametrize("text", ["%", "_", "\\", "a%b_c\\d", "plain"])
async def test_a_like_pattern_finds_the_text_and_nothing_more(database: Database, text: str) -> None:
    def found(connection: Connection) -> list[str]:
        for name in (f"x{text}y", "neither"):
            an_agent(connection, name=name)
        query = select(agents.c.name).where(agents.c.name.ilike(like(text), escape="\\"))
        return list(connection.execute(query).scalars())

    assert await database.write(found) == [f"x{text}y"]
