"""The samples of docs/memory.md run as they stand, and the page shows them as they are."""

import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.process import server, surroundings

ROOT = Path(__file__).parents[2]
PRINTS = {
    "archive.py": "Ana, Bob's sister, lives in Lisbon.\nTrue\n",
    "search.py": "We booked two weeks in Lisbon.\n",
}


@pytest.mark.parametrize("name", PRINTS)
def test_sample_prints_what_it_promises(tmp_path: Path, name: str) -> None:
    with server(tmp_path) as (url, _):
        done = subprocess.run(
            [sys.executable, ROOT / "docs_src/memory" / name],
            env=surroundings(tmp_path, LETTA_BASE_URL=url),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert (done.returncode, done.stdout) == (0, PRINTS[name]), done.stderr


def test_page_shows_the_samples_as_they_are() -> None:
    page = (ROOT / "docs/memory.md").read_text(encoding="utf-8")
    for name in PRINTS:
        text = (ROOT / "docs_src/memory" / name).read_text(encoding="utf-8")
        assert f"<!-- sample: docs_src/memory/{name} -->\n```python\n{text}```" in page
