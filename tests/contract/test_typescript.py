"""The official TypeScript SDK against a real server: the same paths as the Python one, and streams that end."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.contract.process import ServerProcess

SDK = Path(__file__).parents[1] / "sdk"
_SECONDS = 180


@pytest.fixture(scope="module")
def node() -> str:
    """Node, with the client installed beside the script from its lock file."""
    found, npm = shutil.which("node"), shutil.which("npm")
    if found is None or npm is None:
        pytest.skip("the TypeScript SDK needs node and npm")
    lock, installed = SDK / "package-lock.json", SDK / "node_modules" / ".package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        subprocess.run([npm, "ci", "--silent"], cwd=SDK, check=True, timeout=_SECONDS)
    return found


def test_script_sees_what_it_expects_and_ends(node: str, server: ServerProcess) -> None:
    done = subprocess.run(
        [node, SDK / "drive.mjs", server.url], capture_output=True, text=True, timeout=_SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr
    seen: dict[str, Any] = json.loads(done.stdout)
    turn = ["tool_call_message", "tool_return_message", "assistant_message"]
    assert seen == {
        "health": "ok",
        "agent": ["openai/gpt-4o-mini", "letta_v1_agent", ["typescript"], True],
        "retrieved": 1,
        "updated": "d",
        "sent": [turn, "end_turn", 2],
        "kept": "Name: Ada",
        "steps": ["ping", *turn, "stop_reason", "usage_statistics"],
        "tokens": [True, "one two", ["stop_reason", "usage_statistics"]],
        "stream": ["ping", "assistant_message", "stop_reason", "usage_statistics"],
        "error": ["APIError", True],
        "history": [13, 13],
        "cancelled": ["cancelled"],
        "runs": [6, "completed", True],
        "run": [2, True, True, ["user_message", *turn]],
        "block": "red",
        "users": [True],
        "labels": ["human"],
        "tools": [True, "memory_rethink"],
        "approval": True,
        "models": True,
        "tags": True,
        "recompiled": True,
        "missing": [True, 404],
        "unbuilt": 501,
        "deleted": 404,
    }


def test_conversations_are_whole(node: str, server: ServerProcess) -> None:
    done = subprocess.run(
        [node, SDK / "conversations.mjs", server.url], capture_output=True, text=True, timeout=_SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr
    seen: dict[str, Any] = json.loads(done.stdout)
    turn = ["tool_call_message", "tool_return_message", "assistant_message"]
    assert seen == {
        "made": [True, "Trip", "openai/gpt-4o"],
        "changed": ["Travel", None],
        "listed": 1,
        "said": ["ping", *turn, "stop_reason", "usage_statistics"],
        "shared": "Name: Ada",
        "messages": [*turn[::-1], "user_message", "system_message"],
        "forked": [5, 7],
        "own": ["ping", "assistant_message", "stop_reason", "usage_statistics"],
        "recompiled": True,
        "compacted": 7,
        "idle": True,
        "cancelled": ["cancelled"],
        "rest": ["stop_reason"],
        "deleted": True,
        "kept": 8,
    }
