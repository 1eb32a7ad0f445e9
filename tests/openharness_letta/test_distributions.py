"""The three distributions stand on their own, and the adapter explains what it misses."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.openharness_letta.wire_server import WireServer

ROOT = Path(__file__).parents[2]
FOLDERS = {
    "open-letta": ROOT,
    "openharness": ROOT / "packages" / "openharness",
    "openharness-letta": ROOT / "packages" / "openharness-letta",
}
SERVER_ONLY = {"open-letta", "fastapi", "sqlalchemy", "uvicorn", "alembic", "numpy"}


def uv() -> str:
    found = shutil.which("uv") or str(ROOT / ".tools" / "bin" / "uv")
    assert Path(found).exists(), "uv is neither on the path nor in .tools: run `make setup`"
    return found


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A wheel of each distribution."""
    built: dict[str, Path] = {}
    for name, folder in FOLDERS.items():
        target = tmp_path_factory.mktemp(name)
        command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(target)]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        [built[name]] = target.glob("*.whl")
    return built


def installed(environment: Path, *wheels: Path | str) -> set[str]:
    """Install wheels and what they need into a new environment; answers the distributions in it."""
    python = environment / "bin" / "python"
    subprocess.run([uv(), "venv", "--quiet", "--python", sys.executable, str(environment)], check=True)
    pip = [uv(), "pip"]
    subprocess.run(
        [*pip, "install", "--quiet", "--python", str(python), *map(str, wheels)], check=True, cwd=environment
    )
    listed = subprocess.run(
        [*pip, "list", "--format", "json", "--python", str(python)], check=True, capture_output=True, cwd=environment
    )
    return {entry["name"] for entry in json.loads(listed.stdout)}


def prints(environment: Path, code: str) -> str:
    """What code prints in an environment, with nothing from outside on its path."""
    command = [str(environment / "bin" / "python"), "-I", "-W", "error", "-c", code]
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd=environment).stdout.strip()


def test_openharness_installs_alone(wheels: dict[str, Path], tmp_path: Path) -> None:
    names = installed(tmp_path / "env", wheels["openharness"])
    assert "openharness" in names
    assert not names & {*SERVER_ONLY, "letta-client", "openharness-letta"}
    code = "import openharness, openharness.conformance; print(openharness.__version__, len(openharness.__all__))"
    assert prints(tmp_path / "env", code) == "0.1.0 91"
    marker = next((tmp_path / "env").glob("lib/python*/site-packages/openharness/py.typed"))
    assert marker.is_file()


def test_adapter_installs_with_openharness_and_letta_client_and_nothing_of_the_server(
    wheels: dict[str, Path], tmp_path: Path
) -> None:
    names = installed(tmp_path / "env", wheels["openharness-letta"], wheels["openharness"])
    assert {"openharness-letta", "openharness", "letta-client"} <= names
    assert not names & SERVER_ONLY
    code = "from openharness_letta import LettaAdapter as A; a = A(); print(a.id, a.version, a.capabilities.memory)"
    assert prints(tmp_path / "env", code) == "letta 0.1.0 True"
    requires = "from importlib.metadata import requires; print(sorted(requires('openharness-letta')))"
    assert prints(tmp_path / "env", requires) == "['letta-client<2,>=1.2', 'openharness>=0.1.0']"


def test_adapter_works_with_the_oldest_letta_client_it_allows(
    wheels: dict[str, Path], server: WireServer, tmp_path: Path
) -> None:
    installed(tmp_path / "env", wheels["openharness-letta"], wheels["openharness"], "letta-client==1.2.0")
    server.plans["What is open for Ann?"] = [
        {"call": "open_tickets", "args": {"customer": "Ann"}},
        "The printer burns.",
    ]
    command = [str(tmp_path / "env" / "bin" / "python"), str(ROOT / "docs_src" / "openharness" / "letta_tools.py")]
    environment = {**os.environ, "LETTA_BASE_URL": server.base_url}
    ran = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    assert ran.stdout.splitlines()[1] == "The printer burns."


def test_server_installs_without_openharness(wheels: dict[str, Path], tmp_path: Path) -> None:
    names = installed(tmp_path / "env", wheels["open-letta"])
    assert "open-letta" in names
    assert not names & {"openharness", "openharness-letta"}
    assert (
        prints(tmp_path / "env", "import letta; from importlib.metadata import version; print(version('open-letta'))")
        == "0.1.0"
    )


def importing_fails(code: str, path: Path) -> str:
    """The error of code that imports the adapter with `path` in front of everything else."""
    environment = {**os.environ, "PYTHONPATH": str(path)}
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert ran.returncode == 1
    return ran.stderr.strip().splitlines()[-1]


def test_unrelated_package_of_the_same_name_is_explained(tmp_path: Path) -> None:
    (tmp_path / "openharness").mkdir()
    (tmp_path / "openharness" / "__init__.py").write_text("__version__ = '9.9'\n")
    record = tmp_path / "openharness_ai-9.9.dist-info"
    record.mkdir()
    metadata = "Metadata-Version: 2.1\nName: openharness-ai\nVersion: 9.9\nSummary: A coding assistant\n"
    (record / "METADATA").write_text(metadata)
    (record / "top_level.txt").write_text("openharness\n")
    said = importing_fails("import openharness_letta", tmp_path)
    assert said.startswith("ImportError: openharness_letta needs the OpenHarness SDK")
    assert "another project of the same name" in said
    assert str(tmp_path / "openharness" / "__init__.py") in said
    assert "openharness-ai 9.9 (A coding assistant)" in said
    assert "pip uninstall -y openharness openharness-ai" in said


def test_missing_openharness_is_explained(tmp_path: Path) -> None:
    said = importing_fails("import sys; sys.modules['openharness'] = None; import openharness_letta", tmp_path)
    assert "no package `openharness` is installed" in said


def test_other_import_errors_stay_what_they_are(tmp_path: Path) -> None:
    said = importing_fails("import sys; sys.modules['letta_client'] = None; import openharness_letta", tmp_path)
    assert "letta_client" in said
    assert "OpenHarness SDK" not in said
