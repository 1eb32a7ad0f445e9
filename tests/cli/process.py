"""Real `letta` processes, watched through what they print."""

import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

COMMAND = str(Path(sys.executable).with_name("letta"))
PATIENCE = 60.0
"""Seconds until a process that says nothing counts as hung."""


def surroundings(folder: Path, **more: str) -> dict[str, str]:
    """An environment without keys, with the built-in model for everything and `folder` as home."""
    kept = {
        name: os.environ[name] for name in ("PATH", "LANG", "SYSTEMROOT", "PYTHONPYCACHEPREFIX") if name in os.environ
    }
    quiet = {"LETTA_SCRIPTED_MODELS": "1", "LETTA_DISCOVER_LOCAL": "false", "LETTA_SQLITE_SYNCHRONOUS": "OFF"}
    return {**kept, **quiet, "HOME": str(folder), "LETTA_DIR": str(folder / "data"), **more}


class Process:
    """A running command. Both its outputs are read all the time; `printed` is what came so far."""

    def __init__(self, arguments: list[str], environment: dict[str, str]) -> None:
        self.running = subprocess.Popen(
            [COMMAND, *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.printed: list[str] = []
        self._lines: queue.Queue[str | None] = queue.Queue()
        assert self.running.stdout is not None
        threading.Thread(target=self._read, args=(self.running.stdout,), daemon=True).start()

    def _read(self, output: IO[str]) -> None:
        with output:
            for line in output:
                self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def until(self, start: str) -> str:
        """The first line that begins with `start`, of those not read yet."""
        while (line := self._lines.get(timeout=PATIENCE)) is not None:
            self.printed.append(line)
            if line.startswith(start):
                return line
        raise AssertionError(f"ended without printing {start!r}:\n" + "\n".join(self.printed))

    def end(self) -> int:
        """Wait for the process and the rest of its output; its exit code."""
        code = self.running.wait(PATIENCE)
        while (line := self._lines.get(timeout=PATIENCE)) is not None:
            self.printed.append(line)
        return code


@contextmanager
def server(folder: Path, *arguments: str, **environment: str) -> Iterator[tuple[str, Process]]:
    """`letta server` on a free port: its address and the process, stopped at the end."""
    process = Process(["server", "--port", "0", *arguments], surroundings(folder, **environment))
    try:
        yield process.until("Ready at").split()[2], process
    finally:
        if process.running.poll() is None:
            process.running.terminate()
            process.end()


def letta(
    folder: Path, *arguments: str, stdin: str | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [COMMAND, *arguments],
        env=surroundings(folder, **environment),
        input=stdin,
        stdin=None if stdin is not None else subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
