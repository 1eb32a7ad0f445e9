"""Engines and transactions. The only module that knows which database is behind the store.

Store functions are written once, synchronously, over `sqlalchemy.Connection`. On SQLite they run in threads of their
own (one writer, a few readers), on PostgreSQL through `AsyncConnection.run_sync`. They never commit: `Database.write`
does.
"""

import asyncio
import contextlib
import importlib
import logging
import shutil
import sqlite3
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DatabaseError, InterfaceError, OperationalError
from sqlalchemy.pool import QueuePool, StaticPool

from letta.errors import InvalidRequest, StoreFull, StoreUnavailable
from letta.store.access import Connections, Database, P, StoreFunction, T, unavailable
from letta.store.notices import Notices

log = logging.getLogger(__name__)

REVISION = "0001"
"""The schema revision this version of the server works with (see `letta.store.migrations`)."""

_RETRIES = 5
_MOST_TOGETHER = 64
_TOLD_AT_ONCE = 2
"""Tasks that go on in one turn of the event loop when a transaction of many was committed: all at once, they would
keep everybody else waiting."""


class SQLiteDatabase(Database):
    """One file, one writer thread, a few reader threads; WAL, so that readers never wait for the writer."""

    dialect = "sqlite"

    def __init__(self, url: URL, *, synchronous: str, readers: int) -> None:
        self._writer = _sqlite_engine(url, synchronous, "BEGIN IMMEDIATE", poolclass=StaticPool)
        self._reader = _sqlite_engine(
            url, synchronous, "BEGIN", poolclass=QueuePool, pool_size=readers, max_overflow=0, pool_reset_on_return=None
        )
        self._waiting: SimpleQueue[_Job] = SimpleQueue()
        self._called = False
        self._write_thread = ThreadPoolExecutor(1, thread_name_prefix="letta-writer")
        self._read_threads = ThreadPoolExecutor(readers, thread_name_prefix="letta-reader")

    async def read(self, function: StoreFunction[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._read_threads, self._transact, self._reader, function, args, kwargs)

    async def write(self, function: StoreFunction[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.put(_Job(lambda connection: function(connection, *args, **kwargs), done))
        if not self._called:
            self._called = True
            self._write_thread.submit(self._write_waiting)
        # A cancelled request does not cancel a transaction half way: the thread always finishes it.
        return await done

    def _write_waiting(self) -> None:
        # Before the first look: whoever puts a job after the last one calls again.
        self._called = False
        while jobs := list(_taken(self._waiting)):
            told = deque(zip(jobs, self._write_together(jobs), strict=True))
            with contextlib.suppress(RuntimeError):  # the event loop is closed: nobody waits any more
                jobs[0].done.get_loop().call_soon_threadsafe(_tell, told)

    def _write_together(self, jobs: Sequence["_Job"]) -> "list[_Outcome]":
        """Do jobs in one transaction, so that many writers wait for the disk once; each can fail alone."""
        try:
            with self._writer.begin() as connection:
                before = _driver(connection).total_changes
                outcomes = [_outcome(connection, job, alone=len(jobs) == 1) for job in jobs]
                changes = _driver(connection).total_changes - before
            # What changed nothing needed no space.
            self.full = self.full and not changes
            return outcomes
        except Exception as error:
            # Nothing was written, and whoever waits must know.
            failure = unavailable(error) if isinstance(error, OperationalError | InterfaceError) else error
            self.full = self.full or isinstance(failure, StoreFull)
            return [_Outcome(None, failure)] * len(jobs)

    @staticmethod
    def _transact(engine: Engine, function: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]) -> T:
        try:
            with engine.begin() as connection:
                return function(connection, *args, **kwargs)
        except (OperationalError, InterfaceError) as error:
            raise unavailable(error) from error

    def notices(self, direct_url: str | None = None) -> Notices:
        # One process has the file, so what is said stays in it.
        return Notices()

    def connections(self) -> Connections:
        pool = self._reader.pool
        assert isinstance(pool, QueuePool), "readers are made with one"
        return Connections(pool.checkedout(), pool.size() + 1, self._waiting.qsize())

    async def close(self) -> None:
        self._read_threads.shutdown(wait=True)
        self._write_thread.shutdown(wait=True)
        self._reader.dispose()
        self._writer.dispose()


class _Job(NamedTuple):
    """A store function that waits for the writer, and where its result goes."""

    run: Callable[[Connection], Any]
    done: asyncio.Future[Any]


class _Outcome(NamedTuple):
    """The result of a job, or why it failed."""

    result: Any
    failure: Exception | None


def _taken(waiting: SimpleQueue[_Job]) -> Iterator[_Job]:
    for _ in range(_MOST_TOGETHER):
        try:
            yield waiting.get_nowait()
        except Empty:
            return


def _outcome(connection: Connection, job: _Job, *, alone: bool) -> _Outcome:
    """Do a job; if it fails, nothing of it is left in the transaction."""
    if alone:
        return _Outcome(job.run(connection), None)
    # Straight to the driver, as the beginning of the transaction.
    driver = _driver(connection)
    driver.execute("SAVEPOINT job")
    try:
        result = job.run(connection)
    except (OperationalError, InterfaceError):
        raise
    except Exception as error:
        # Any failure is the business of who asked; the others in this transaction go on.
        driver.execute("ROLLBACK TO job")
        driver.execute("RELEASE job")
        return _Outcome(None, error)
    driver.execute("RELEASE job")
    return _Outcome(result, None)


def _tell(outcomes: deque[tuple[_Job, _Outcome]]) -> None:
    """Let those who wait go on, a few in each turn of the event loop."""
    for _ in range(min(_TOLD_AT_ONCE, len(outcomes))):
        job, (result, failure) = outcomes.popleft()
        if job.done.done():  # who asked was cancelled
            continue
        if failure is None:
            job.done.set_result(result)
        else:
            job.done.set_exception(failure)
    if outcomes:
        outcomes[0][0].done.get_loop().call_soon(_tell, outcomes)


def _driver(connection: Connection) -> Any:
    driver = connection.connection.driver_connection
    assert driver is not None, "a transaction begins on an open connection"
    return driver


def _sqlite_engine(url: URL, synchronous: str, begin: str, **options: Any) -> Engine:
    # Parameters are what people said to their agents: no message of an error, and so no log, repeats them.
    options |= {"hide_parameters": True, "connect_args": {"check_same_thread": False, "timeout": 30}}
    engine = create_engine(url, **options)

    @event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, record: object) -> None:
        # Transactions are begun by the listener below, not by the driver's own rules.
        connection.isolation_level = None
        for pragma in (
            "journal_mode=WAL",
            f"synchronous={synchronous}",
            "foreign_keys=ON",
            "busy_timeout=30000",
            "cache_size=-16000",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def start(connection: Connection) -> None:
        # Straight to the driver: as a statement of the engine it would cost as much as the rest of a short transaction.
        _driver(connection).execute(begin)

    return engine


def parse_url(url: str) -> URL:
    """`url` with the driver this server uses.

    Raises:
        letta.errors.InvalidRequest: for a database this server does not speak.
    """
    parsed = make_url(url)
    backend = parsed.drivername.split("+")[0]
    if backend == "sqlite":
        return parsed.set(drivername="sqlite")
    if backend in ("postgres", "postgresql"):
        return parsed.set(drivername="postgresql+asyncpg")
    raise InvalidRequest(f"database_url: {backend!r} is not supported, use sqlite:/// or postgresql://")


async def open_database(
    url: str, *, synchronous: str = "FULL", pool: int = 10, pooler: bool = False, patience: float = 30.0
) -> Database:
    """Open the database at `url`, bring its schema to this version and return it.

    `pooler`: a connection pooler in transaction mode, such as PgBouncer, stands in front of PostgreSQL. `patience`: how
    many seconds PostgreSQL has for a statement.

    A SQLite file is copied to `<file>.before-<revision>-<time>.bak` before a migration changes it.

    Raises:
        letta.errors.InvalidRequest: unknown kind of URL, a schema newer than this server, or a file
            that is no database.
        letta.errors.StoreUnavailable: the database does not answer.
    """
    parsed = parse_url(url)
    if parsed.drivername == "sqlite":
        if parsed.database and parsed.database != ":memory:":
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        database: Database = SQLiteDatabase(parsed, synchronous=synchronous, readers=min(pool, 4))
    else:
        # SQLAlchemy's asyncio half brings its ORM along, which a server on SQLite need not wait for.
        postgres = importlib.import_module("letta.store.postgres")
        database = postgres.connect(parsed, pool, pooler=pooler, patience=patience)
    try:
        revision = await _opened(database, parsed)
        if revision != REVISION:
            if isinstance(database, SQLiteDatabase) and revision is not None:
                _back_up(Path(str(parsed.database)), revision)
            log.info("bringing the database from revision %s to %s", revision or "none", REVISION)
            # Alembic takes a third of a second to import and is needed on the first start and after upgrades only.
            migrate = importlib.import_module("letta.store.migrate").migrate
            if isinstance(database, SQLiteDatabase):
                await database.write(migrate, REVISION)
            else:
                await _migrate_patiently(postgres.connect(parsed, 1, pooler=pooler, patience=None), migrate)
    except BaseException:
        await database.close()
        raise
    return database


async def _opened(database: Database, url: URL) -> str | None:
    """The revision of a database; reading it is what opens a file."""
    try:
        return await database.read(revision_of)
    except (DatabaseError, StoreUnavailable) as error:
        reason = getattr(error if isinstance(error, DatabaseError) else error.__cause__, "orig", None)
        if not isinstance(reason, sqlite3.Error):
            raise
        raise InvalidRequest(
            f"{url.database} cannot be opened as a SQLite database: {reason}. If it is damaged, restore a backup (the "
            ".bak files beside it); if it is another file, choose another data folder or --database-url."
        ) from error


async def _migrate_patiently(database: Database, migrate: Callable[[Connection, str], None]) -> None:
    """Migrate over connections that wait for as long as it takes."""
    try:
        await database.write(migrate, REVISION)
    finally:
        await database.close()


def revision_of(connection: Connection) -> str | None:
    """The revision of a database's schema; None where there is none yet."""
    if not connection.dialect.has_table(connection, "alembic_version"):
        return None
    revision = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return None if revision is None else str(revision)


def _back_up(path: Path, revision: str) -> None:
    """Copy the database with SQLite's own backup, which includes what is still in the write-ahead log."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    target = path.with_name(f"{path.name}.before-{REVISION}-{stamp}.bak")
    if shutil.disk_usage(path.parent).free < path.stat().st_size * 2:
        raise InvalidRequest(f"not enough free space next to {path} for a backup before migrating from {revision}")
    with sqlite3.connect(path) as source, sqlite3.connect(target) as copy:
        source.backup(copy)
    source.close()
    copy.close()
    log.info("backed up the database to %s", target)
