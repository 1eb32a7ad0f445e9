"""The samples of the page about tools run as they stand, and the page shows them as they are."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.process import server, surroundings

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/tools.md"
SAMPLES = ROOT / "docs_src/tools"
PRINTS = {
    "python_tool.py": [
        "success 33.0", "tool_call_message", "tool_return_message", "assistant_message",
    ],
    "agent_and_secrets.py": ["Secretary wrote it down.", "['my key is [secret NOTES_KEY]']", "Buy milk."],
    "models_as_arguments.py": ["3"],
    "library_tool.py": ["['numpy']"],
    "run_code.py": ["5050"],
    "typescript_tool.py": ["4 words"],
}  # fmt: skip


@pytest.mark.parametrize("name", PRINTS)
def test_sample_runs(tmp_path: Path, name: str) -> None:
    if name == "typescript_tool.py" and shutil.which("node") is None:
        pytest.skip("Node.js is not installed")
    # Installers need this machine's own way to the package index.
    passed = {
        key: value for key, value in os.environ.items() if key.startswith(("PIP_", "UV_", "NODE_", "SSL_", "HOME"))
    }
    with server(tmp_path, **passed) as (url, _):
        done = subprocess.run(
            [sys.executable, SAMPLES / name],
            env=surroundings(tmp_path, LETTA_BASE_URL=url),
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == PRINTS[name]


def test_the_page_shows_every_sample_as_it_is() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert {path.name for path in SAMPLES.glob("*.py")} == set(PRINTS)
    for name in PRINTS:
        text = (SAMPLES / name).read_text(encoding="utf-8")
        assert f"<!-- sample: docs_src/tools/{name} -->\n```python\n{text}```" in page
