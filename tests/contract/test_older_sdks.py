"""Scripts written for letta-client 1.0.0 and 0.1.324 work as they are. Each runs in a process with its own client."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.contract.process import ServerProcess

ROOT = Path(__file__).parents[2]
SDK = ROOT / "tests" / "sdk"
_SECONDS = 300


def installed(version: str) -> Path:
    """The folder of a client and what it needs, made from its lock file if it is not there yet."""
    lock = SDK / f"letta-client-{version}.lock"
    folder = ROOT / ".cache" / "sdk" / f"{version}-{hashlib.sha256(lock.read_bytes()).hexdigest()[:12]}"
    if not folder.exists():
        made = folder.with_name(f"{folder.name}.{os.getpid()}")
        subprocess.run([*_installer(), "--target", made, "--require-hashes", "-r", lock], check=True, timeout=_SECONDS)
        made.rename(folder)
    return folder


def _installer() -> list[str | Path]:
    uv = shutil.which("uv") or shutil.which("uv", path=ROOT / ".tools" / "bin")
    if uv:
        return [uv, "pip", "install", "--quiet", "--python", sys.executable]
    return [getattr(sys, "_base_executable", sys.executable), "-m", "pip", "install", "--quiet"]


def drive(version: str, server: ServerProcess) -> dict[str, Any]:
    """What the script of a version saw."""
    script = SDK / f"drive_{version.replace('.', '_')}.py"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", script, server.url],
        env={**os.environ, "PYTHONPATH": str(installed(version))},
        capture_output=True,
        text=True,
        timeout=_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen


@pytest.fixture(scope="module")
def seen_by_1_0_0(server: ServerProcess) -> dict[str, Any]:
    return drive("1.0.0", server)


def test_script_for_1_0_0_sees_what_it_expects(server: ServerProcess) -> None:
    assert drive("1.0.0", server) == {}


def test_script_for_0_1_324_sees_what_it_expects(server: ServerProcess) -> None:
    assert drive("0.1.324", server) == {}
