"""`letta server` that kills itself at a chosen point: `CRASH_POINT="<function>:<before|inside|after>:<n>"`.

Points are the transactions of the store, by the name of their function: before one begins, inside it when all its
statements were carried out, and after it was committed, each the n-th time it comes by. `CRASH_SEEN` is a file that
gets the names of all functions.
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any

from letta.cli.main import app
from letta.store.database import SQLiteDatabase
from letta.store.postgres import PostgresDatabase

NAME, PHASE, COUNT = os.environ.get("CRASH_POINT", "::0").split(":")
_left = int(COUNT)
_seen: set[str] = set()


def _pass(name: str, phase: str) -> None:
    global _left
    if (name, phase) == (NAME, PHASE):
        _left -= 1
        if _left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def _note(name: str) -> None:
    if name not in _seen and "CRASH_SEEN" in os.environ:
        _seen.add(name)
        with Path(os.environ["CRASH_SEEN"]).open("a") as file:
            file.write(f"{name}\n")


def _arm(database: type[Any]) -> None:
    plain = database.write

    async def write(self: Any, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        name = f"{function.__module__.rpartition('.')[2]}.{function.__name__}"
        _note(name)

        def inside(connection: Any, *args: Any, **kwargs: Any) -> Any:
            result = function(connection, *args, **kwargs)
            _pass(name, "inside")
            return result

        _pass(name, "before")
        result = await plain(self, inside, *args, **kwargs)
        _pass(name, "after")
        return result

    database.write = write


if __name__ == "__main__":
    _arm(SQLiteDatabase)
    _arm(PostgresDatabase)
    app(sys.argv[1:])
