"""Scripts written for letta-client 1.0.0 and 0.1.324 work as they are. Each runs in a process with its own client."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

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


def test_script_for_1_0_0_sees_what_it_expects(server: ServerProcess) -> None:
    assert drive("1.0.0", server) == {
        "health": "ok",
        "listed": [True],
        "relations": [True, True, ["x"]],
        "sent": [["tool_call_message", "tool_return_message", "assistant_message"], "end_turn", 2],
        "streamed": ["ping", "assistant_message", "stop_reason", "usage_statistics"],
        "said": "a b",
        "kept": "Name: Ada",
        "history": 9,
        "run": ["completed", 2, True],
        "attached": True,
        "reset": True,
        "updated": "d",
        "identity_agents": [True],
        "identity_updated": "Eve",
        "base_tools": True,
        "models": True,
        "deleted": [True, True],
    }


def test_script_for_0_1_324_sees_what_it_expects(server: ServerProcess) -> None:
    assert drive("0.1.324", server) == {
        "health": "ok",
        "agent": ["openai/gpt-4", "gpt-4"],
        "embedding": "text-embedding-ada-002",
        "relations": [True],
        "sent": [["tool_call_message", "tool_return_message", "assistant_message"], "end_turn", 2],
        "replied": [
            "reasoning_message",
            "tool_call_message",
            "tool_return_message",
            "reasoning_message",
            "assistant_message",
        ],
        "raw": ["reasoning_message", "tool_call_message", "tool_return_message"],
        "streamed": ["ping", "assistant_message", "stop_reason", "usage_statistics"],
        "said": "a b c",
        "core_memory": ["human"],
        "context": True,
        "modified": "renamed",
        "block_modified": "changed",
        "block_name": "w",
        "attached": True,
        "tools": True,
        "variables": {},
        "counts": [True, True, True, True],
        "history": [3, True],
        "run": ["completed", True, True],
        "active": [],
        "jobs": "completed",
        "job_lists": [True, []],
        "step": True,
        "trace": True,
        "search": [True],
        "models": True,
        "embeddings": [None, "list"],
        "tags": True,
        "provider": ["mine", True],
        "provider_deleted": True,
        "identity": "Eve",
        "reset": True,
        "run_deleted": True,
        "deleted": [True, True],
    }
