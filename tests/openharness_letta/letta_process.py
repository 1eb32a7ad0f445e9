"""A real `letta server` process of its own, with the scripted model, on a free port of this machine."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

STARTS_WITHIN = 60.0


@dataclass
class LettaProcess:
    """A running server; `kill` ends it the hard way."""

    base_url: str
    process: subprocess.Popen[bytes]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@contextmanager
def letta_process(data_dir: Path) -> Iterator[LettaProcess]:
    """Start a server and wait until it answers; it has ended afterwards."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    # Keys and settings of whoever runs the tests stay out of it.
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR")}
    command = [str(Path(sys.executable).parent / "letta"), "server", "--port", str(port), "--data-dir", str(data_dir)]
    log = data_dir / "server.log"
    with log.open("wb") as told:
        environment = {**kept, "LETTA_SCRIPTED_MODELS": "1"}
        process = subprocess.Popen(command, env=environment, stdout=told, stderr=subprocess.STDOUT)
    base_url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + STARTS_WITHIN
        while not _answers(base_url):
            assert process.poll() is None, f"letta server ended: {log.read_text()[-2000:]}"
            assert time.monotonic() < deadline, f"letta server does not answer: {log.read_text()[-2000:]}"
            time.sleep(0.05)
        yield LettaProcess(base_url, process)
    finally:
        process.terminate()
        process.wait()


def _answers(base_url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{base_url}/v1/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
