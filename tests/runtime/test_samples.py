"""The samples of the pages about turns run as they stand, and the pages show them as they are."""

import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.process import server, surroundings

ROOT = Path(__file__).parents[2]
PRINTS = {
    "approval.py": [
        'requires_approval memory_insert {"label":"human","new_string":"Name: Alice"}',
        "['tool_return_message', 'assistant_message']",
        "Name: Alice",
    ],
    "client_tool.py": None,
    "compaction.py": None,
    "past.py": ["Name: Ann", "Name: Cleo", "assistant_message True", "Name: Bea"],
}
PAGES = [ROOT / "docs/approvals.md", ROOT / "docs/long-conversations.md", ROOT / "docs/time-travel.md"]


@pytest.mark.parametrize("name", PRINTS)
def test_sample_runs(tmp_path: Path, name: str) -> None:
    with server(tmp_path) as (url, _):
        done = subprocess.run(
            [sys.executable, ROOT / "docs_src/turns" / name],
            env=surroundings(tmp_path, LETTA_BASE_URL=url),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    if name == "client_tool.py":
        assert "21 in the kitchen" in lines[0]
    elif name == "compaction.py":
        assert lines[0].startswith("13 -> ")
        assert lines[1] == "True"
    else:
        assert lines == PRINTS[name]


def test_pages_show_the_samples_as_they_are() -> None:
    pages = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    for name in PRINTS:
        text = (ROOT / "docs_src/turns" / name).read_text(encoding="utf-8")
        assert f"<!-- sample: docs_src/turns/{name} -->\n```python\n{text}```" in pages
