"""The official TypeScript SDK: schedules."""

import json
import subprocess

from tests.contract.process import ServerProcess
from tests.contract.test_typescript import SDK, node

__all__ = ["node"]


def test_schedules_are_whole(node: str, server: ServerProcess) -> None:
    done = subprocess.run(
        [node, SDK / "schedules.mjs", server.url], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "made": ["string", True],
        "listed": [False, [True]],
        "shown": ["*/5 * * * *", "echo later"],
        "same": True,
        "deleted": True,
        "missing": True,
    }
