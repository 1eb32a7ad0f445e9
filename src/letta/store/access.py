"""What a database is to the rest of the server: a place where store functions run."""

import logging
from collections.abc import Callable
from typing import Concatenate, NamedTuple, ParamSpec, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import InterfaceError, OperationalError

from letta.errors import StoreFull, StoreUnavailable
from letta.store.notices import Notices

P = ParamSpec("P")
T = TypeVar("T")
StoreFunction = Callable[Concatenate[Connection, P], T]

log = logging.getLogger(__name__)


class Connections(NamedTuple):
    """Connections in use, how many there can be, and how many writes wait for the one writer of SQLite."""

    in_use: int
    limit: int
    writes_waiting: int = 0


class Database:
    """Runs store functions. Made by `await open_database(url)`; safe for any number of tasks at once."""

    dialect: str
    full = False
    """Whether the last write failed for want of space."""

    async def read(self, function: StoreFunction[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function that only reads.

        Raises:
            letta.errors.StoreUnavailable: when the database does not answer.
        """
        raise NotImplementedError

    async def write(self, function: StoreFunction[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function in one transaction: committed when it returns, rolled back when it raises.

        On PostgreSQL a transaction that lost a deadlock or a serialisation race is run again, so the function must not
        have effects outside the database.

        Raises:
            letta.errors.StoreUnavailable: when the database does not answer.
        """
        raise NotImplementedError

    def notices(self, direct_url: str | None = None) -> Notices:
        """How processes that use this database wake each other up; open it, and close it before the database.

        `direct_url` leads to the same database without a connection pooler in between.
        """
        raise NotImplementedError

    def connections(self) -> Connections:
        """What is in use at the moment."""
        raise NotImplementedError

    async def close(self) -> None:
        """Close every connection."""
        raise NotImplementedError


_DISK_FULL = "53100"


def is_failure(error: BaseException) -> bool:
    """Whether the database failed, and not what was asked of it."""
    return isinstance(error, OperationalError | InterfaceError)


def unavailable(error: BaseException) -> StoreUnavailable:
    """A failure of the database as the error to answer with; what it was is logged."""
    log.error("database error: %s", error)
    if "disk is full" in str(error) or getattr(getattr(error, "orig", None), "sqlstate", None) == _DISK_FULL:
        return StoreFull("The disk that holds the database is full. Free some space, then repeat the request.")
    return StoreUnavailable("The database does not answer; see the server's log. The request can be repeated.")
