"""docs/cli.md and docs/python.md show what the commands say and samples that run.

`LETTA_UPDATE_DOCS=1 pytest tests/cli/test_docs.py` writes the help texts and the samples into the pages.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.process import COMMAND, PATIENCE, server, surroundings
from typer.testing import CliRunner

from letta.cli.main import app

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "docs/cli.md", ROOT / "docs/python.md")
SAMPLES = sorted((ROOT / "docs_src/python").glob("*.py"))

_PLACE = re.compile(r"<!-- (help|sample): (.+?) -->\n(?:```\w*\n.*?^```\n)?", re.DOTALL | re.MULTILINE)

EXPECTED = {
    "by_name": "found by name\n",
    "errors": "404\n",
    "first_agent": "Your name is Alice.\nName: Alice\n",
    "local": "['Your name is Alice.']\n",
    "local_async": "['I am Ann']\n['I am Ben']\n",
    "older_names": "still works\n",
}


def _filled(page: str) -> str:
    """The page with its help texts and samples as they are now."""
    return _PLACE.sub(lambda place: f"{place[0].splitlines()[0]}\n{_block(place[1], place[2])}", page)


def _block(kind: str, name: str) -> str:
    if kind == "help":
        shown = CliRunner().invoke(app, [*name.split(), "--help"], prog_name="letta", terminal_width=100)
        assert shown.exit_code == 0
        return f"```\n{shown.stdout.strip()}\n```\n"
    path = ROOT / name
    return f"```{'python' if path.suffix == '.py' else 'bash'}\n{path.read_text(encoding='utf-8')}```\n"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_show_help_and_samples_as_they_are(page: Path) -> None:
    written = page.read_text(encoding="utf-8")
    if os.environ.get("LETTA_UPDATE_DOCS"):
        page.write_text(_filled(written), encoding="utf-8")
    assert page.read_text(encoding="utf-8") == _filled(written)


def test_every_command_and_every_sample_is_on_a_page() -> None:
    places = [match[2] for page in PAGES for match in _PLACE.finditer(page.read_text(encoding="utf-8"))]
    groups = [(f"{group.name} ", group.typer_instance) for group in app.registered_groups]
    commands = {
        f"{prefix}{command.name or (command.callback.__name__ if command.callback else '')}"
        for prefix, part in [("", app), *groups]
        if part is not None
        for command in part.registered_commands
    }
    assert commands <= set(places)
    samples = {
        str(path.relative_to(ROOT)) for folder in ("python", "cli") for path in (ROOT / "docs_src" / folder).glob("*.*")
    }
    assert samples <= set(places)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server as a newcomer starts it: no keys, only the built-in model."""
    with server(tmp_path_factory.mktemp("samples"), LETTA_SCRIPTED_MODELS="0") as (url, _):
        yield url


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.stem)
def test_python_samples_run(sample: Path, address: str, tmp_path: Path) -> None:
    environment = surroundings(tmp_path, LETTA_BASE_URL=address, LETTA_SCRIPTED_MODELS="0")
    ended = subprocess.run(
        [sys.executable, sample],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    if sample.stem == "streaming":
        assert len(ended.stdout.split()) == 12
    else:
        assert ended.stdout == EXPECTED[sample.stem]


def test_the_shell_sample_runs(tmp_path: Path) -> None:
    script = (ROOT / "docs_src/cli/talk.sh").read_text(encoding="utf-8")
    environment = surroundings(tmp_path)
    environment["PATH"] = f"{Path(COMMAND).parent}{os.pathsep}{environment['PATH']}"
    ended = subprocess.run(
        ["bash", "-euc", script], env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "Your name is Alice." in ended.stdout
    assert ended.stdout.rstrip().endswith("Name: Alice")
