"""The samples of the page about agents together run as they stand, and the page shows them as they are."""

import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.process import server, surroundings

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "docs_src/agents_together"
PRINTS = {
    "asking.py": ["2 + 3 = 5"],
    "group.py": ["ann assistant_message", "ben assistant_message", "ann assistant_message", "3 runs"],
    "sleeptime.py": ["completed True", "Name: Grace"],
}


@pytest.mark.parametrize("name", PRINTS)
def test_sample_prints_what_it_should(tmp_path: Path, name: str) -> None:
    with server(tmp_path) as (url, _):
        done = subprocess.run(
            [sys.executable, SAMPLES / name],
            env=surroundings(tmp_path, LETTA_BASE_URL=url),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert (done.returncode, done.stdout.splitlines()) == (0, PRINTS[name]), done.stderr


def test_page_shows_the_samples_as_they_are() -> None:
    page = (ROOT / "docs/agents-together.md").read_text(encoding="utf-8")
    assert {path.name for path in SAMPLES.glob("*.py")} == PRINTS.keys()
    for name in PRINTS:
        text = (SAMPLES / name).read_text(encoding="utf-8")
        assert f"<!-- sample: docs_src/agents_together/{name} -->\n```python\n{text}```" in page
