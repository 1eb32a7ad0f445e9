"""What the documentation says is so: links lead somewhere, samples run, settings and routes exist."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from scripts import settings_page, size
from scripts.modules import ROOT, SOURCES, graph, load
from starlette.routing import Match

from letta.app import create_app
from letta.settings import Settings
from tests import samples

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "packages").glob("*/README.md")])
README = (ROOT / "README.md").read_text(encoding="utf-8")
DECISIONS = sorted((ROOT / "docs/decisions").glob("[0-9]*.md"))
NOT_OURS = frozenset(
    {".git", ".venv", ".tools", ".cache", ".hypothesis", ".mypy_cache", ".pytest_cache", ".ruff_cache", "node_modules",
     "__pycache__", "build", "dist"}
)  # fmt: skip

# Paths of one machine, and hosts that a lock file could carry away from it. Written so that it does not find itself.
_FORBIDDEN = re.compile(r"/[w]ork/|\b[p]ypi\.org|[p]ythonhosted\.|[r]egistry\.npmjs|[r]egistry\.yarnpkg|[n]pmmirror")
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_ROUTE = re.compile(r"`(GET|POST|PUT|PATCH|DELETE) (/[^`?\s]*)")
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links_lead_somewhere(page: Path) -> None:
    lost = []
    for link in _LINK.findall(_without_code(page.read_text(encoding="utf-8"))):
        address, _, anchor = link.partition("#")
        target = (page.parent / address).resolve() if address else page
        if link.startswith(("http://", "https://", "mailto:")):
            continue
        if not target.exists() or (anchor and anchor not in _anchors(target)):
            lost.append(link)
    assert lost == []


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_routes_that_are_named_exist(page: Path) -> None:
    routes = create_app(Settings(), {}).routes
    named = {(method, path.rstrip("/")) for method, path in _ROUTE.findall(page.read_text(encoding="utf-8"))}
    unknown = [
        f"{method} {path}"
        for method, path in sorted(named)
        if not any(route.matches(_scope(method, path))[0] is Match.FULL for route in routes)
    ]
    assert unknown == []


def test_every_page_is_in_the_index() -> None:
    listed = set(_LINK.findall((ROOT / "docs/README.md").read_text(encoding="utf-8")))
    pages = {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert sorted(pages - listed) == []


def test_settings_page_shows_the_settings_there_are() -> None:
    shown = settings_page.PAGE.read_text(encoding="utf-8")
    assert shown == settings_page.page(), "run `python -m scripts.settings_page`"


def test_documented_variables_are_the_ones_that_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"LETTA_PORT": "9000", "LETTA_DATA_DIR": "/tmp/here", "LETTA_PG_URI": "postgresql://u@h/d"}
    fields = {"port": 9000, "data_dir": Path("/tmp/here"), "database_url": "postgresql://u@h/d"}
    for variable, value in values.items():
        monkeypatch.setenv(variable, value)
    documented = {
        variable for name, field in Settings.model_fields.items() for variable in settings_page.variables(name, field)
    }
    assert values.keys() <= documented
    assert {name: getattr(Settings(), name) for name in fields} == fields


def test_decisions_are_numbered_whole_and_listed() -> None:
    index = (ROOT / "docs/decisions/README.md").read_text(encoding="utf-8")
    assert [path.name[:4] for path in DECISIONS] == [f"{number:04}" for number in range(1, len(DECISIONS) + 1)]
    for path in DECISIONS:
        text = path.read_text(encoding="utf-8")
        title, *sections = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
        assert sections == ["Context", "Decision", "Consequences", "Alternatives"], path.name
        assert f"| [{path.name[:4]}]({path.name}) | {title.removeprefix(path.name[:4]).strip()} |" in index


@pytest.mark.parametrize("path", DECISIONS, ids=_name)
def test_files_that_a_decision_names_exist(path: Path) -> None:
    named = re.findall(r"`((?:src|tests|docs|packages)/[\w./-]+)`", path.read_text(encoding="utf-8"))
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_readme_tree_is_the_tree_there_is() -> None:
    listed = list(_tree())
    assert [name for name in listed if not (ROOT / name).exists()] == []
    parts = {f"src/letta/{path.name}" for path in (ROOT / "src/letta").iterdir()}
    parts -= {"src/letta/__pycache__", "src/letta/version.py", "src/letta/py.typed"}
    assert sorted(parts - {name.rstrip("/") for name in listed}) == []


def test_readme_commands_are_in_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    used = set(re.findall(r"\bmake ([a-z]+)", README))
    assert {"run", "test"} <= used <= targets


def test_readme_carries_the_number_of_calls_that_are_served() -> None:
    page = (ROOT / "docs/compatibility.md").read_text(encoding="utf-8")
    number = re.compile(r"\*\*(\d+ of the \d+) calls\*\*")
    assert number.findall(README) == number.findall(page)


def test_integration_runs_the_commands_of_the_readme() -> None:
    script = ROOT / ".ci/run"
    lines = script.read_text(encoding="utf-8").splitlines()
    assert os.access(script, os.X_OK)
    assert [line for line in lines if line.startswith("make ")] == ["make check", "make test"]


def test_readme_samples_run_as_they_stand(tmp_path: Path) -> None:
    """The second sample runs on a server that was started again."""
    shown = [code for language, code in _FENCE.findall(README) if language == "python"]
    names = ("readme/first_agent.py", "readme/what_it_remembers.py")
    files = [(samples.SAMPLES / name).read_text(encoding="utf-8") for name in names]
    assert shown == [text.split('"""\n\n', 1)[1] for text in files]
    first, second = [samples.lines(name, tmp_path) for name in names]
    assert first[1] == "Your name is Grace."
    assert second == ["Name: Grace"]


def test_one_message_passes_only_through_modules_it_can_reach() -> None:
    edges = graph(load(*SOURCES))
    reached = {"letta.app", "letta.api.messages"}
    while new := {target for name in reached for target in edges[name]} - reached:
        reached |= new
    declared = {f"letta.{name}" for names in size.REQUEST_PATH.values() for name in names}
    assert sorted(declared - reached) == []


def test_nothing_names_a_machine_or_a_registry() -> None:
    found = [f"{_name(path)}: {match[0]}" for path, text in _files() for match in _FORBIDDEN.finditer(text)]
    assert found == []


def test_lock_files_hold_no_address() -> None:
    locks = [(path, text) for path, text in _files() if path.name.endswith((".lock", "package-lock.json"))]
    addresses = re.compile(r"(?:--(?:extra-)?index-url|--find-links|\"resolved\":|git\+|file://)\S*")
    assert locks
    assert [(_name(path), addresses.findall(text)) for path, text in locks if addresses.search(text)] == []


def _scope(method: str, path: str) -> dict[str, object]:
    return {"type": "http", "method": method, "path": path, "root_path": "", "headers": []}


def _without_code(text: str) -> str:
    return re.sub(r"`[^`\n]*`", "", _FENCE.sub("", text))


def _anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as they are made from their words on the usual hosts."""
    headings = re.findall(r"^#+ (.*)$", _FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def _tree() -> Iterator[str]:
    """The paths of the README's tree; indentation says what is in what."""
    [tree] = [code for language, code in _FENCE.findall(README) if language == "text"]
    folders: list[str] = []
    for line in tree.splitlines():
        depth, name = (len(line) - len(line.lstrip())) // 2, line.split()[0]
        del folders[depth:]
        folders.append(name)
        yield "".join(folders)


def _files() -> Iterator[tuple[Path, str]]:
    """Every text file of the project, as far as it is not made by a tool."""
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in NOT_OURS]
        for name in names:
            path = Path(folder, name)
            try:
                yield path, path.read_text(encoding="utf-8")
            except UnicodeDecodeError:
                continue
