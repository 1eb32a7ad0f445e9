"""A real `letta server` process on a free port: what the official clients are pointed at."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2

COMMAND = Path(sys.executable).with_name("letta")
_START_SECONDS = 30
_STOP_SECONDS = 15


@dataclass(frozen=True, slots=True)
class ServerProcess:
    """A running server: where it answers, and the file its output goes to."""

    url: str
    output: Path


def free_port() -> int:
    """A port nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running_server(folder: Path, **environment: str) -> Iterator[ServerProcess]:
    """Start the command, wait until it is healthy, and stop it as a person would, with an interrupt."""
    port = free_port()
    output = folder / "server.log"
    surroundings = {name: value for name, value in os.environ.items() if not name.startswith(("LETTA_", "OPENAI_"))}
    given = {"LETTA_SCRIPTED_MODELS": "1", "LETTA_DISCOVER_LOCAL": "false", **environment}
    with output.open("wb") as log:
        process = subprocess.Popen(
            [COMMAND, "server", "--data-dir", folder / "data", "--port", str(port)],
            env={**surroundings, **given},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            url = f"http://127.0.0.1:{port}"
            _wait_until_healthy(url, process, output)
            yield ServerProcess(url, output)
        finally:
            _stop(process)


def _wait_until_healthy(url: str, process: subprocess.Popen[bytes], output: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with status {process.returncode}:\n{output.read_text()}")
        try:
            if httpx2.get(f"{url}/v1/health", timeout=1).status_code == 200:
                return
        except httpx2.TransportError:
            time.sleep(0.05)
    raise TimeoutError(f"no healthy answer in {_START_SECONDS} s:\n{output.read_text()}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise
