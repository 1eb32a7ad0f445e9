"""The pages show the samples, and what the commands say of themselves, as they are.

`LETTA_UPDATE_DOCS=1 pytest tests/test_samples.py` writes both into the pages.
"""

import os
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from letta.cli.main import app
from tests.samples import ROOT, SAMPLES, shown

PAGES = sorted((ROOT / "docs").glob("*.md"))
SHOWN_WITHOUT_A_MARK = {"openharness", "readme"}
"""Folders whose samples stand on pages that a package index shows too; their own tests see to them."""

_PLACE = re.compile(r"<!-- (help|sample): (.+?) -->\n(?:```\w*\n.*?^```\n)?", re.DOTALL | re.MULTILINE)


def _filled(page: str) -> str:
    """The page with its help texts and samples as they are now."""
    return _PLACE.sub(lambda place: _help(place[2]) if place[1] == "help" else _sample(place[2]), page)


def _help(command: str) -> str:
    told = CliRunner().invoke(app, [*command.split(), "--help"], prog_name="letta", terminal_width=100)
    assert told.exit_code == 0
    return f"<!-- help: {command} -->\n```\n{told.stdout.strip()}\n```\n"


def _sample(path: str) -> str:
    return shown(path.removeprefix("docs_src/"))


def _places(kind: str) -> set[str]:
    found = [place for page in PAGES for place in _PLACE.finditer(page.read_text(encoding="utf-8"))]
    return {place[2] for place in found if place[1] == kind}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_page_shows_help_and_samples_as_they_are(page: Path) -> None:
    written = page.read_text(encoding="utf-8")
    if os.environ.get("LETTA_UPDATE_DOCS"):
        page.write_text(_filled(written), encoding="utf-8")
    assert page.read_text(encoding="utf-8") == _filled(written)


def test_every_sample_is_on_a_page() -> None:
    files = [path.relative_to(SAMPLES) for path in SAMPLES.rglob("*.*") if "__pycache__" not in path.parts]
    marked = {f"docs_src/{file.as_posix()}" for file in files if file.parts[0] not in SHOWN_WITHOUT_A_MARK}
    assert _places("sample") == marked


def test_every_command_is_on_a_page() -> None:
    groups = [(f"{group.name} ", group.typer_instance) for group in app.registered_groups]
    commands = {
        f"{prefix}{command.name or (command.callback.__name__ if command.callback else '')}"
        for prefix, part in [("", app), *groups]
        if part is not None
        for command in part.registered_commands
    }
    assert commands <= _places("help")
