"""PostgreSQL through asyncpg: a pool shared with any number of other replicas."""

import asyncio
import random
from typing import Any

import asyncpg  # type: ignore[import-untyped]  # comes without types
from sqlalchemy import URL, event, make_url
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import (
    DBAPIError,
    InterfaceError,
    InternalError,
    InvalidatePoolError,
    OperationalError,
)
from sqlalchemy.exc import (
    TimeoutError as NoneFree,
)
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool, QueuePool

from letta.errors import StoreFull
from letta.store.access import Connections, Database, P, StoreFunction, T, unavailable
from letta.store.notices import Notices
from letta.store.postgres_notices import PostgresNotices

_RETRIES = 5
PATIENCE = 30.0
"""Seconds a statement may take."""
_CONNECT, _FREE, _PING = 10.0, 10.0, 5.0
"""Seconds to make a connection, to get a free one, and to hear from one that was idle; at most those of a statement."""
_UNHEARD = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)


class PostgresDatabase(Database):
    """A pool of asyncpg connections, shared with any number of other replicas."""

    dialect = "postgresql"

    def __init__(self, engine: AsyncEngine, *, pooler: bool = False) -> None:
        self._engine = engine
        self._autocommit = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._pooler = pooler

    async def read(self, function: StoreFunction[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            # A pooler keeps to one connection of the database in a transaction only, and a statement has two parts.
            async with self._engine.begin() if self._pooler else self._autocommit.connect() as connection:
                return await connection.run_sync(function, *args, **kwargs)
        except (OSError, NoneFree) as error:
            raise unavailable(error) from error
        except DBAPIError as error:
            if _is_gone(error):
                raise unavailable(error) from error
            raise

    async def write(self, function: StoreFunction[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        for attempt in range(_RETRIES):
            try:
                async with self._engine.begin() as connection:
                    result = await connection.run_sync(function, *args, **kwargs)
                self.full = False
                return result
            except (OSError, NoneFree) as error:
                raise unavailable(error) from error
            except DBAPIError as error:
                if _is_gone(error):
                    failure = unavailable(error)
                    self.full = isinstance(failure, StoreFull)
                    raise failure from error
                # 40001 serialization_failure, 40P01 deadlock_detected
                if _state(error) not in ("40001", "40P01") or attempt == _RETRIES - 1:
                    raise
            await asyncio.sleep(random.uniform(0.005, 0.02) * 2**attempt)  # noqa: S311 - jitter, not a secret
        raise AssertionError("unreachable: the last attempt returns or raises")

    def notices(self, direct_url: str | None = None) -> Notices:
        if self._pooler and direct_url is None:
            return PostgresNotices(self, None)
        url = make_url(direct_url).set(drivername=self._engine.url.drivername) if direct_url else self._engine.url
        # It listens without a limit; but it is not to be waited for when it is silent where an answer is due.
        limits = {"timeout": _CONNECT, "command_timeout": _PING}
        listening = create_async_engine(url, poolclass=NullPool, connect_args=limits, hide_parameters=True)
        return PostgresNotices(self, listening)

    def connections(self) -> Connections:
        pool = self._engine.pool
        assert isinstance(pool, QueuePool), "engines of asyncio have one"
        return Connections(pool.checkedout(), 2 * pool.size())

    async def close(self) -> None:
        await self._engine.dispose()


def _state(error: DBAPIError) -> str:
    """PostgreSQL's five letters for what went wrong; empty where it was the client that did."""
    return getattr(error.orig, "sqlstate", None) or ""


def _is_gone(error: DBAPIError) -> bool:
    """Whether the database could not be asked, or stopped in the middle: nothing that a statement can be blamed for.

    Classes 08 (connection), 53 (out of memory, disk or connections) and 57P (shutdown). A driver whose connection was
    cut under it says InternalError.
    """
    lost = isinstance(error, OperationalError | InterfaceError) or error.connection_invalidated
    state = _state(error)
    return lost or state.startswith(("08", "53", "57P")) or (isinstance(error, InternalError) and not state)


def connect(url: URL, pool: int, *, pooler: bool = False, patience: float | None = PATIENCE) -> Database:
    """A pool of at most twice `pool` connections, made when they are needed.

    `pooler` says that a connection pooler in transaction mode is in between: then statements have no names, which
    would be left behind on connections that others use. A statement that has no answer after `patience` seconds has
    lost its connection; None waits for ever, which a migration may need.
    """
    arguments: dict[str, Any] = {"timeout": min(_CONNECT, patience or _CONNECT), "command_timeout": patience}
    if pooler:
        unnamed = {"statement_cache_size": 0, "prepared_statement_cache_size": 0, "prepared_statement_name_func": str}
        arguments |= unnamed
    options: dict[str, Any] = {"pool_size": pool, "max_overflow": pool, "pool_timeout": min(_FREE, patience or _FREE)}
    # Parameters are what people said to their agents: no message of an error, and so no log, repeats them.
    engine = create_async_engine(url, **options, connect_args=arguments, hide_parameters=True)
    event.listen(engine.sync_engine, "handle_error", _give_up_silent)
    event.listen(engine.sync_engine, "checkout", _Ping(min(_PING, patience or _PING)))
    return PostgresDatabase(engine, pooler=pooler)


def _give_up_silent(context: ExceptionContext) -> None:
    """A connection without an answer in time is as good as cut, and so are those that were made before it."""
    if isinstance(context.original_exception, TimeoutError):
        context.is_disconnect = True


class _Ping:
    """Asks every connection that was used before whether the database still hears it; silence counts as a no.

    In place of SQLAlchemy's own, which takes silence for a failure of the request.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def __call__(self, connection: Any, record: Any, _fairy: object) -> None:
        if not record.info.get("used"):  # the pool forgets it when it connects anew
            record.info["used"] = True
            return
        try:
            connection.run_async(lambda driver: driver.execute("SELECT 1", timeout=self._seconds))
        except _UNHEARD as error:
            raise InvalidatePoolError from error
