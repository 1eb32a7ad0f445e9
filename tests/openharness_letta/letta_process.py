"""A real `letta server` process of its own, as the tests of the adapter use it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.cli.process import Process, server


@dataclass(frozen=True, slots=True)
class LettaProcess:
    """A running server; `kill` ends it the hard way."""

    base_url: str
    process: Process

    def kill(self) -> None:
        self.process.running.kill()
        self.process.end()


@contextmanager
def letta_process(folder: Path) -> Iterator[LettaProcess]:
    """Start a server and wait until it answers; it has ended afterwards."""
    with server(folder) as (url, process):
        yield LettaProcess(url, process)
