"""The samples of the pages about schedules and operation run as they stand, and the pages show them as they are."""

import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.process import server, surroundings

ROOT = Path(__file__).parents[2]
PRINTS = {
    "schedules/daily.py": ["True True", "True"],
    "schedules/once.py": ["started 0", "user_message", "assistant_message"],
    "schedules/batch.py": ["completed {'completed': 2}", "assistant I am Bo."],
    "operations/probes.py": [
        "ok",
        "200",
        'letta_runs_open{status="created"} 0.0',
        'letta_runs_open{status="running"} 0.0',
        "letta_database_up 1.0",
    ],
}
PAGES = [ROOT / "docs/schedules.md", ROOT / "docs/operations.md"]


@pytest.mark.parametrize("name", PRINTS)
def test_sample_runs(tmp_path: Path, name: str) -> None:
    with server(tmp_path) as (url, _):
        done = subprocess.run(
            [sys.executable, ROOT / "docs_src" / name],
            env=surroundings(tmp_path, LETTA_BASE_URL=url),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == PRINTS[name]


def test_pages_show_the_samples_as_they_are() -> None:
    pages = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    for name in PRINTS:
        text = (ROOT / "docs_src" / name).read_text(encoding="utf-8")
        assert f"<!-- sample: docs_src/{name} -->\n```python\n{text}```" in pages
