"""A real `letta server` process: what the official clients are pointed at."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.cli.process import server


@dataclass(frozen=True, slots=True)
class ServerProcess:
    """A running server: where it answers."""

    url: str


@contextmanager
def running_server(folder: Path, **environment: str) -> Iterator[ServerProcess]:
    """Start a server, wait until it listens, and stop it as a person would."""
    with server(folder, **environment) as (url, _):
        yield ServerProcess(url)
