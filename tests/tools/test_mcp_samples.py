"""The samples of docs/mcp.md run as they stand, with the official client against a real server."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.contract.process import running_server

ROOT = Path(__file__).parents[2]


def test_sample_gives_an_agent_the_tools_of_a_server(tmp_path: Path) -> None:
    sample = ROOT / "docs_src/mcp/use_tools.py"
    with running_server(tmp_path) as server:
        environment = {**os.environ, "LETTA_BASE_URL": server.url}
        done = subprocess.run([sys.executable, sample], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "['current_year']",
        "['tool_call_message', 'tool_return_message', 'assistant_message']",
    ]


@pytest.mark.parametrize("name", ["clock_server.py", "use_tools.py"])
def test_page_shows_the_sample_as_it_is(name: str) -> None:
    text = (ROOT / "docs_src/mcp" / name).read_text(encoding="utf-8")
    page = (ROOT / "docs/mcp.md").read_text(encoding="utf-8")
    assert f"<!-- sample: docs_src/mcp/{name} -->\n```python\n{text}```" in page
