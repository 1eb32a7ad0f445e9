"""The samples of the page about sending run as they stand, and the page shows them as they are."""

import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.process import server, surroundings

ROOT = Path(__file__).parents[2]
SECRET = "shared with whoever is called"
PRINTS = {
    "once.py": ["True", "1 run"],
    "busy.py": [
        "busy with this run: True",
        "end_turn ['assistant_message']",
        "heard during the first run: True",
    ],
    "deadline.py": ["504 did not end within 0.5 seconds (deadline_seconds)", "failed deadline_exceeded"],
    "callback.py": ["created [(True, 'completed')]"],
}


@pytest.mark.parametrize("name", PRINTS)
def test_sample_runs(tmp_path: Path, name: str) -> None:
    with server(tmp_path, LETTA_CALLBACK_SECRET=SECRET) as (url, _):
        done = subprocess.run(
            [sys.executable, ROOT / "docs_src/sending" / name],
            env=surroundings(tmp_path, LETTA_BASE_URL=url, LETTA_CALLBACK_SECRET=SECRET),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == PRINTS[name]


def test_page_shows_the_samples_as_they_are() -> None:
    page = (ROOT / "docs/sending.md").read_text(encoding="utf-8")
    for name in PRINTS:
        text = (ROOT / "docs_src/sending" / name).read_text(encoding="utf-8")
        assert f"<!-- sample: docs_src/sending/{name} -->\n```python\n{text}```" in page
