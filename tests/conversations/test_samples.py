"""The samples of docs/conversations.md run as they stand, print what the page says, and are shown as they are."""

import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.process import server, surroundings

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/conversations.md"


@pytest.mark.parametrize("name", ["threads.py", "fork.py"])
def test_sample_is_on_the_page_and_prints_what_it_says(tmp_path: Path, name: str) -> None:
    sample = ROOT / "docs_src/conversations" / name
    with server(tmp_path) as (url, _):
        done = subprocess.run(
            [sys.executable, sample],
            env=surroundings(tmp_path, LETTA_BASE_URL=url),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert done.returncode == 0, done.stderr
    shown = f"<!-- sample: docs_src/conversations/{name} -->\n```python\n{sample.read_text(encoding='utf-8')}```\n"
    assert f"{shown}\nIt prints\n\n```\n{done.stdout}```\n" in PAGE.read_text(encoding="utf-8")
