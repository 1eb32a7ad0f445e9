"""Runs the samples of the documentation as they stand, each in a process of its own.

What they print is for the tests beside the code that they show. `tests/test_samples.py` sees to the pages.
"""

import subprocess
import sys
from pathlib import Path

from tests.cli.process import server, surroundings

ROOT = Path(__file__).parents[1]
SAMPLES = ROOT / "docs_src"
PATIENCE = 120.0
"""Seconds until a sample counts as hung. Some install packages."""


def run(sample: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A sample that ended well, with `folder` as its home."""
    done = subprocess.run(
        [sys.executable, SAMPLES / sample],
        cwd=folder,
        env=surroundings(folder, **environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done


def output(sample: str, folder: Path, **environment: str) -> str:
    """What it prints, and nothing on stderr."""
    done = run(sample, folder, **environment)
    assert done.stderr == "", done.stderr
    return done.stdout


def lines(sample: str, folder: Path, **environment: str) -> list[str]:
    """The lines it prints against a server of its own that has this environment."""
    with server(folder, **environment) as (url, _):
        return output(sample, folder, LETTA_BASE_URL=url).splitlines()


def names(folder: str) -> set[str]:
    """The samples of a folder, as the functions above take them."""
    return {f"{folder}/{path.name}" for path in (SAMPLES / folder).glob("*.py")}


def shown(sample: str) -> str:
    """A sample as a page shows it."""
    path = SAMPLES / sample
    language = {".js": "js", ".py": "python", ".sh": "bash"}[path.suffix]
    return f"<!-- sample: docs_src/{sample} -->\n```{language}\n{path.read_text(encoding='utf-8')}```\n"
