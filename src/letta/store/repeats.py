"""Requests that were sent before: whoever sends the same one again is told which run, batch or schedule there is.

A request may carry a key. What was made with it first keeps it, as long as keys count. Knows nothing of where keys come
from.
"""

from collections.abc import Container, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, insert, select, update
from sqlalchemy.exc import IntegrityError

from letta.errors import InvalidValue
from letta.schemas.sends import BusyPolicy

KEY_HEADER = "Idempotency-Key"


@dataclass(frozen=True, slots=True)
class Arrival:
    """How a request arrived.

    `policy` is what it asks for should the conversation be busy; else the conversation's counts, then the agent's, then
    `default`. A run that began before `known_since` has lost its `key`. `again_since` is given when the request says
    that it was sent before: then the newest run with the same `digest` that began since is meant, unless it is one of
    those that were `answered`: whoever has an answer does not try again. The same holds for batches and schedules.
    """

    policy: BusyPolicy | None = None
    default: BusyPolicy = BusyPolicy.ENQUEUE
    key: str | None = None
    digest: str | None = None
    known_since: datetime | None = None
    again_since: datetime | None = None
    answered: Container[str] = ()


PLAIN = Arrival(policy=BusyPolicy.ENQUEUE)
"""A request of the server's own: it waits its turn, whatever the agent does with others."""


class SentBefore(Exception):
    """The request is one that was sent before. `run_id` is its run; None: it has to be looked up."""

    def __init__(self, run_id: str | None = None) -> None:
        super().__init__(run_id)
        self.run_id = run_id


def find(connection: Connection, table: Table, arrival: Arrival, *among: ColumnElement[bool]) -> str | None:
    """The id of what was made for this very request, if there is something. Requests count `among` some rows only.

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


def free(connection: Connection, table: Table, arrival: Arrival, *among: ColumnElement[bool]) -> None:
    """Take the key away from what was made with it so long ago that it counts no more."""
    if arrival.key is not None and arrival.known_since is not None:
        old = table.c.created_at < arrival.known_since
        mine = update(table).where(table.c.request_key == arrival.key, old, *among)
        connection.execute(mine.values(request_key=None))


def add(
    connection: Connection, table: Table, values: Mapping[str, Any], arrival: Arrival, *among: ColumnElement[bool]
) -> None:
    """Insert what was asked for, with the marks of its request.

    Raises:
        letta.errors.InvalidValue: the key is that of another request.
        SentBefore: something was made for this very request, perhaps at this moment.
    """
    if find(connection, table, arrival, *among) is not None:
        raise SentBefore
    free(connection, table, arrival, *among)
    marks = {"request_key": arrival.key, "request_digest": arrival.digest}
    try:
        connection.execute(insert(table), {**values, **marks})
    except IntegrityError as error:
        if "request_key" in str(error.orig):
            raise SentBefore from error
        raise
