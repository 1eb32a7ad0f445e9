"""PostgreSQL through asyncpg: a pool shared with any number of other replicas."""

import asyncio
import random
from typing import Any

from sqlalchemy import URL, make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, InternalError, OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool, QueuePool

from letta.store.access import Connections, Database, P, StoreFunction, T, unavailable
from letta.store.notices import Notices
from letta.store.postgres_notices import PostgresNotices

_RETRIES = 5


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
        except OSError as error:
            raise unavailable(error) from error
        except DBAPIError as error:
            if _is_gone(error):
                raise unavailable(error) from error
            raise

    async def write(self, function: StoreFunction[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        for attempt in range(_RETRIES):
            try:
                async with self._engine.begin() as connection:
                    return await connection.run_sync(function, *args, **kwargs)
            except OSError as error:
                raise unavailable(error) from error
            except DBAPIError as error:
                if _is_gone(error):
                    raise unavailable(error) from error
                # 40001 serialization_failure, 40P01 deadlock_detected
                if _state(error) not in ("40001", "40P01") or attempt == _RETRIES - 1:
                    raise
            await asyncio.sleep(random.uniform(0.005, 0.02) * 2**attempt)  # noqa: S311 - jitter, not a secret
        raise AssertionError("unreachable: the last attempt returns or raises")

    def notices(self, direct_url: str | None = None) -> Notices:
        if self._pooler and direct_url is None:
            return PostgresNotices(self, None)
        url = make_url(direct_url).set(drivername=self._engine.url.drivername) if direct_url else self._engine.url
        return PostgresNotices(self, create_async_engine(url, poolclass=NullPool))

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


def connect(url: URL, pool: int, *, pooler: bool = False) -> Database:
    """A pool of at most twice `pool` connections, made when they are needed.

    `pooler` says that a connection pooler in transaction mode is in between: then statements have no names, which
    would be left behind on connections that others use.
    """
    options: dict[str, Any] = {}
    if pooler:
        options = {"statement_cache_size": 0, "prepared_statement_cache_size": 0, "prepared_statement_name_func": str}
    engine = create_async_engine(url, pool_size=pool, max_overflow=pool, pool_pre_ping=True, connect_args=options)
    return PostgresDatabase(engine, pooler=pooler)
