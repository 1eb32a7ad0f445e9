"""One process per SQLite file: a lock next to it that the operating system drops when its holder ends, however it ends.

The file also says who holds it, so that a second process can name it.
"""

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import URL
from sqlalchemy.exc import ArgumentError

from letta.errors import Conflict, InvalidRequest
from letta.store.database import parse_url
from letta.store.vault import usable_folder

if sys.platform != "win32":
    import fcntl


@dataclass(frozen=True, slots=True)
class Holder:
    """Who has a lock. `url` is where the process serves, None if it does not (or not yet)."""

    pid: int
    url: str | None


class FileLock:
    """A lock that is held. Made by `take`."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor
        self.describe(None)

    def describe(self, url: str | None) -> None:
        """Say where this process serves."""
        note = json.dumps({"pid": os.getpid(), "url": url}).encode()
        os.ftruncate(self._descriptor, 0)
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        os.write(self._descriptor, note)

    def release(self) -> None:
        """Let others take it. The file stays: removing it would let two processes lock two files of one name."""
        os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)


def shown_url(database_url: str) -> str:
    """The address of a database without its password, fit for a person to read. Raises as `lock_path`."""
    return _parsed(database_url).render_as_string(hide_password=True)


def lock_path(database_url: str) -> Path | None:
    """Where a database is locked; None for one that several processes may use, or that no other can reach.

    Raises:
        letta.errors.InvalidRequest: a database this server does not speak.
    """
    url = _parsed(database_url)
    if url.get_backend_name() != "sqlite" or not url.database or url.database == ":memory:":
        return None
    return Path(f"{url.database}.lock")


def _parsed(database_url: str) -> URL:
    try:
        return parse_url(database_url)
    except ArgumentError:
        # The text may hold a password, so it is not repeated.
        raise InvalidRequest("database_url: not a database address; write sqlite:/// or postgresql://") from None


def lock_database(database_url: str) -> FileLock | None:
    """Keep other processes from a SQLite file; None where that is not needed.

    Raises:
        letta.errors.Conflict: as `take`.
        letta.errors.InvalidRequest: as `lock_path`.
    """
    path = lock_path(database_url)
    return None if path is None else take(path)


def take(path: Path) -> FileLock:
    """Lock `path`, which is made if it is not there, with its folder.

    Raises:
        letta.errors.Conflict: another process (or another part of this one) holds it; the message names it.
        letta.errors.InvalidRequest: the folder cannot be made or written.
    """
    with usable_folder(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = _open(path)
        if descriptor is not None:
            return FileLock(path, descriptor)
    raise Conflict(_explanation(path))


def holder(path: Path) -> Holder | None:
    """Who holds the lock now; None when nobody does. A holder that cannot be read has pid 0."""
    try:
        if not path.exists():
            return None
        descriptor = _open(path)
    except OSError:
        # Whoever opens what lies there is told that it cannot be.
        return None
    if descriptor is not None:
        os.close(descriptor)
        return None
    try:
        note = json.loads(path.read_text())
        return Holder(int(note["pid"]), note["url"])
    except (OSError, ValueError, KeyError, TypeError):
        return Holder(0, None)


def _open(path: Path) -> int | None:
    """A descriptor that holds the lock, or None when another one does."""
    if sys.platform == "win32":
        # The file exists while it is held: Windows removes it with its last descriptor, also after a crash.
        try:
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_TEMPORARY)
        except OSError:
            return None
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _explanation(path: Path) -> str:
    found = holder(path) or Holder(0, None)
    who = f"process {found.pid}" if found.pid else "another process"
    if found.url:
        advice = f"connect to it at {found.url}, stop it, or choose another data folder"
        return f"{path.with_suffix('')} is in use by the server at {found.url} ({who}): {advice}."
    return f"{path.with_suffix('')} is in use by {who}: close that one first, or choose another data folder."
