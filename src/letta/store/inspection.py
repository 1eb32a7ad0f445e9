"""What state a database is in, read without changing it: for a person who wants to know what is wrong.

Opens nothing that `letta.store.database.open_database` would have to make or migrate first.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import URL, Connection, func, inspect, select, text
from sqlalchemy.exc import DatabaseError

from letta.store.access import Database
from letta.store.database import REVISION, SQLiteDatabase, parse_url
from letta.store.postgres import connect
from letta.store.providers import StoredProvider
from letta.store.providers import list_all as list_providers
from letta.store.runs import OPEN
from letta.store.tables import agents, runs


@dataclass(frozen=True, slots=True)
class UnfinishedRun:
    """A run that has not ended. `lease_until` is when its worker has to have shown that it is alive."""

    id: str
    agent_id: str
    status: str
    created_at: datetime
    lease_until: datetime | None


@dataclass(frozen=True, slots=True)
class State:
    """A database as it is. `damage` is SQLite's report.

    With another `revision` than `expected` nothing else is read.
    """

    revision: str | None
    expected: str
    agents: int = 0
    damage: str | None = None
    unfinished: Sequence[UnfinishedRun] = ()
    providers: Sequence[StoredProvider] = ()


async def look(url: str) -> State | None:
    """The state of the database at `url`; None when it is a SQLite file that does not exist.

    Raises:
        letta.errors.InvalidRequest: unknown kind of URL.
        letta.errors.StoreUnavailable: the database does not answer.
    """
    parsed = parse_url(url)
    if parsed.get_backend_name() == "sqlite":
        if _is_missing(parsed):
            return None
        database: Database = SQLiteDatabase(parsed, synchronous="FULL", readers=1)
    else:
        database = connect(parsed, 1)
    try:
        return await database.read(_state)
    except DatabaseError as error:
        if parsed.get_backend_name() != "sqlite":
            raise
        return State(None, REVISION, damage=str(error.orig))
    finally:
        await database.close()


def _is_missing(url: URL) -> bool:
    return not url.database or not os.path.exists(url.database)


def _state(connection: Connection) -> State:
    damage = None
    if connection.dialect.name == "sqlite":
        found = str(connection.exec_driver_sql("PRAGMA quick_check(1)").scalar())
        damage = None if found == "ok" else found
    revision = None
    if inspect(connection).has_table("alembic_version"):
        revision = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    if revision != REVISION:
        return State(None if revision is None else str(revision), REVISION, damage=damage)
    columns = (runs.c.id, runs.c.agent_id, runs.c.status, runs.c.created_at, runs.c.lease_until)
    rows = connection.execute(select(*columns).where(runs.c.status.in_(OPEN)).order_by(runs.c.created_at))
    return State(
        REVISION,
        REVISION,
        agents=connection.execute(select(func.count()).select_from(agents)).scalar_one(),
        damage=damage,
        unfinished=[UnfinishedRun(*row) for row in rows],
        providers=list_providers(connection),
    )
