"""The samples of the page about streams run as they stand, and the page shows them as they are."""

import subprocess
import sys
from pathlib import Path

from tests.cli.process import server, surroundings

ROOT = Path(__file__).parents[2]
SAMPLES = {"resume.py": "python", "browser.js": "js"}


def test_reader_comes_back(tmp_path: Path) -> None:
    with server(tmp_path) as (url, _):
        done = subprocess.run(
            [sys.executable, ROOT / "docs_src/streaming/resume.py"],
            env=surroundings(tmp_path, LETTA_BASE_URL=url),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "one two | three four",
        "one two three four ['stop_reason', 'usage_statistics']",
    ]


def test_page_shows_the_samples_as_they_are() -> None:
    page = (ROOT / "docs/streaming.md").read_text(encoding="utf-8")
    for name, language in SAMPLES.items():
        text = (ROOT / "docs_src/streaming" / name).read_text(encoding="utf-8")
        assert f"<!-- sample: docs_src/streaming/{name} -->\n```{language}\n{text}```" in page
