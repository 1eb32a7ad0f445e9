"""Cursor paging and small helpers shared by every list."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from sqlalchemy import Column, Connection, Select, Table, and_, literal, or_, select, tuple_

from letta.errors import InvalidValue, NotFound

Order = Literal["asc", "desc"]


def now() -> datetime:
    """The current time, UTC, in whole microseconds."""
    return datetime.now(UTC)


def times_in_order(count: int) -> list[datetime]:
    """The current time `count` times, a microsecond apart: what is made together keeps its order."""
    start = now()
    return [start + timedelta(microseconds=number) for number in range(count)]


def page(
    connection: Connection,
    query: Select[Any],
    table: Table,
    *,
    sort: str = "created_at",
    order: Order = "desc",
    after: str | None = None,
    before: str | None = None,
    limit: int | None = 50,
) -> Select[Any]:
    """Add a keyset page to `query`: rows after (before) the cursor row in the asked order, at most `limit`.

    `after` and `before` are ids. Ties and rows without a sort value are ordered by id, missing values last.

    Raises:
        letta.errors.NotFound: when a cursor names no row, because an ignored cursor would make iterators loop for ever.
        letta.errors.InvalidValue: when the sort column does not exist.
    """
    if sort not in table.c:
        raise InvalidValue(f"order_by: {sort!r} is not a field these can be ordered by")
    column: Column[Any] = table.c[sort]
    descending = order == "desc"
    for cursor, forward in ((after, True), (before, False)):
        if cursor:
            value = _cursor_value(connection, table, column, cursor)
            query = query.where(_beyond(column, table.c.id, value, cursor, forward=forward, descending=descending))
    # With only `before`, the page nearest to the cursor is wanted, so it is read backwards; `ordered` turns it round.
    backwards = bool(before) and not after
    if column.nullable:
        query = query.order_by(column.is_(None).asc() if not backwards else column.is_(None).desc())
    if descending != backwards:
        query = query.order_by(column.desc(), table.c.id.desc())
    else:
        query = query.order_by(column.asc(), table.c.id.asc())
    return query if limit is None else query.limit(limit)


def rows(
    connection: Connection,
    query: Select[Any],
    table: Table,
    *,
    sort: str = "created_at",
    order: Order = "desc",
    after: str | None = None,
    before: str | None = None,
    limit: int | None = 50,
) -> Sequence[Any]:
    """The rows of one page, in the asked order (see `page`)."""
    paged = page(connection, query, table, sort=sort, order=order, after=after, before=before, limit=limit)
    found = connection.execute(paged).all()
    return list(reversed(found)) if before and not after else found


def _cursor_value(connection: Connection, table: Table, column: Column[Any], cursor: str) -> Any:
    row = connection.execute(select(column).where(table.c.id == cursor)).first()
    if row is None:
        raise NotFound(f"cursor {cursor!r} not found: `after` and `before` take the id of an item of this list")
    return row[0]


def _beyond(column: Column[Any], key: Column[Any], value: Any, cursor: str, *, forward: bool, descending: bool) -> Any:
    larger = forward != descending
    if value is None:
        same = and_(column.is_(None), key > cursor if larger else key < cursor)
        return same if forward else or_(same, column.is_not(None))
    pair, point = tuple_(column, key), tuple_(literal(value, column.type), literal(cursor))
    there = pair > point if larger else pair < point
    return or_(there, column.is_(None)) if column.nullable and forward else there


def like(text: str) -> str:
    """A LIKE pattern (escape character backslash) that finds `text` anywhere."""
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"
