"""The clock that leases are measured with: the database's, which all processes share. Knows nothing of leases.

A SQLite file has one process, whose clock it is.
"""

from datetime import datetime, timedelta

from sqlalchemy import BigInteger, ColumnElement, Connection, literal, literal_column, type_coerce

from letta.store.query import now
from letta.store.tables import Timestamp

# In the unit of Timestamp. Not now(), which stands still in a transaction.
_MICROSECONDS: ColumnElement[int] = literal_column(
    "CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint)", BigInteger
)
_MICROSECOND = timedelta(microseconds=1)


def moment(connection: Connection, after: timedelta = timedelta(0)) -> ColumnElement[datetime]:
    """The current time of the database, moved by `after`, to compare with columns and to store in them."""
    if connection.dialect.name == "sqlite":
        return literal(now() + after, Timestamp())
    return type_coerce(_MICROSECONDS + after // _MICROSECOND, Timestamp())
