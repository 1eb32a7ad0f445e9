"""Batches and schedules that were asked for before: whoever sends the same request again is told what there is.

Runs have `letta.store.arrivals`, whose marks of a request count here, too.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, insert, select, update
from sqlalchemy.exc import IntegrityError

from letta.errors import InvalidValue
from letta.store.arrivals import KEY_HEADER, Arrival, SentBefore


def find(connection: Connection, table: Table, arrival: Arrival, *among: ColumnElement[bool]) -> str | None:
    """The id of what was made for this very request, if there is something. Keys count `among` some rows only.

    Raises:
        letta.errors.InvalidValue: the key is that of another request.
    """
    if arrival.key is None:
        return _newest(connection, table, arrival, *among)
    query = select(table.c.id, table.c.request_digest, table.c.created_at)
    row = connection.execute(query.where(table.c.request_key == arrival.key, *among)).first()
    if row is None or (arrival.known_since is not None and row.created_at < arrival.known_since):
        return None
    if row.request_digest != arrival.digest:
        raise InvalidValue(
            f"{KEY_HEADER}: {row.id} was made with this key and another body: "
            "send the same body again, or choose a new key"
        )
    found: str = row.id
    return found


def _newest(connection: Connection, table: Table, arrival: Arrival, *among: ColumnElement[bool]) -> str | None:
    if arrival.again_since is None or arrival.digest is None:
        return None
    query = select(table.c.id).where(
        table.c.request_digest == arrival.digest, table.c.created_at >= arrival.again_since, *among
    )
    found = connection.execute(query.order_by(table.c.created_at.desc(), table.c.id.desc()).limit(1)).scalar()
    return None if found in arrival.answered else found


def add(
    connection: Connection, table: Table, values: Mapping[str, Any], arrival: Arrival, *among: ColumnElement[bool]
) -> None:
    """Insert what was asked for, with the marks of its request.

    Raises:
        letta.errors.InvalidValue: the key is that of another request.
        letta.store.arrivals.SentBefore: something was made for this very request, perhaps at this moment.
    """
    if find(connection, table, arrival, *among) is not None:
        raise SentBefore
    if arrival.key is not None and arrival.known_since is not None:
        old = table.c.created_at < arrival.known_since
        connection.execute(
            update(table).where(table.c.request_key == arrival.key, old, *among).values(request_key=None)
        )
    marks = {"request_key": arrival.key, "request_digest": arrival.digest}
    try:
        connection.execute(insert(table), {**values, **marks})
    except IntegrityError as error:
        if "request_key" in str(error.orig):
            raise SentBefore from error
        raise
