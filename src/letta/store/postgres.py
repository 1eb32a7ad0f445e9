"""PostgreSQL through asyncpg: a pool shared with any number of other replicas."""

import asyncio
import random

from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from letta.store.access import Database, P, StoreFunction, T, unavailable

_RETRIES = 5


class PostgresDatabase(Database):
    """A pool of asyncpg connections, shared with any number of other replicas."""

    dialect = "postgresql"

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._autocommit = engine.execution_options(isolation_level="AUTOCOMMIT")

    async def read(self, function: StoreFunction[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            async with self._autocommit.connect() as connection:
                return await connection.run_sync(function, *args, **kwargs)
        except (OperationalError, InterfaceError, OSError) as error:
            raise unavailable(error) from error

    async def write(self, function: StoreFunction[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        for attempt in range(_RETRIES):
            try:
                async with self._engine.begin() as connection:
                    return await connection.run_sync(function, *args, **kwargs)
            except (OperationalError, InterfaceError, OSError) as error:
                raise unavailable(error) from error
            except DBAPIError as error:
                # 40001 serialization_failure, 40P01 deadlock_detected
                if getattr(error.orig, "sqlstate", "") not in ("40001", "40P01") or attempt == _RETRIES - 1:
                    raise
            await asyncio.sleep(random.uniform(0.005, 0.02) * 2**attempt)  # noqa: S311 - jitter, not a secret
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def close(self) -> None:
        await self._engine.dispose()


def connect(url: URL, pool: int) -> Database:
    """A pool of at most twice `pool` connections, made when they are needed.

    Behind PgBouncer in transaction mode, put `?prepared_statement_cache_size=0` into the URL.
    """
    return PostgresDatabase(create_async_engine(url, pool_size=pool, max_overflow=pool, pool_pre_ping=True))
