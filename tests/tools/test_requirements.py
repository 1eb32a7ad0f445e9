"""Packages of tools: built once for each set, in the background, with a state people can see."""

import asyncio
import base64
import hashlib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from tests.serving import Served, serve
from tests.tools.sandboxes import KINDS, tools_in

from letta.errors import InvalidRequest, ToolFailed
from letta.schemas.tools import NpmRequirement, PipRequirement, Tool
from letta.tools.custom import ToolEnvironment
from letta.tools.requirements import Requirements, words

SOURCE = "def f():\n    import greeting\n    return greeting.VERSION, greeting.__file__"


def wheel(folder: Path, version: str) -> None:
    """A package `greeting` as an installer finds it in a folder."""
    files = {
        "greeting.py": f"VERSION = {version!r}\n",
        f"greeting-{version}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: greeting\nVersion: {version}\n",
        f"greeting-{version}.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    hashes = {
        name: base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        for name, text in files.items()
    }
    record = f"greeting-{version}.dist-info/RECORD"
    files[record] = (
        "".join(f"{name},sha256={hashes[name]},{len(text)}\n" for name, text in files.items()) + f"{record},,\n"
    )
    with zipfile.ZipFile(folder / f"greeting-{version}-py3-none-any.whl", "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)


@pytest.fixture
def index(tmp_path: Path) -> dict[str, str]:
    """The environment of installers that know two versions of one package, and no network."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for version in ("1.0", "2.0"):
        wheel(folder, version)
    (tmp_path / "home").mkdir()
    return {
        "HOME": str(tmp_path / "home"),
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "PIP_CONFIG_FILE": "/dev/null",
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(folder),
        "UV_NO_INDEX": "1",
        "UV_FIND_LINKS": str(folder),
        "UV_NO_CONFIG": "1",
        "SECRET_KEY": "not for installers",
    }


def needing(version: str | None) -> Tool:
    requirement = PipRequirement(name="greeting", version=version)
    return Tool(id="tool-1", name="f", source_code=SOURCE, source_type="python", pip_requirements=[requirement])


@pytest.mark.parametrize("kind", KINDS)
async def test_a_tool_imports_its_own_version(kind: str, tmp_path: Path, index: dict[str, str]) -> None:
    async with tools_in(tmp_path, kind, index) as tools:
        for version, expected in (("1.0", "1.0"), ("2.0", "2.0"), (None, "2.0"), ("<2", "1.0")):
            done = await tools.run(needing(version), {}, ToolEnvironment())
            assert done.ok, done.text
            assert done.text.startswith(f'["{expected}"')
        plain = await tools.run(Tool(id="tool-1", name="f", source_code=SOURCE), {}, ToolEnvironment())
        assert "ModuleNotFoundError: No module named 'greeting'" in plain.text


async def test_a_set_is_built_once_and_found_again_after_a_restart(tmp_path: Path, index: dict[str, str]) -> None:
    wanted = words("pip", [PipRequirement(name="greeting", version="1.0")])
    first = Requirements(tmp_path / "envs", index)
    assert first.state("pip", wanted).status == "none"
    waiting = [first.folder("pip", wanted, 60.0) for _ in range(3)]
    folders = await asyncio.gather(*waiting)
    assert len(set(folders)) == 1
    assert (first.state("pip", wanted).status, first.state("pip", wanted).requirements) == ("ready", ("greeting==1.0",))
    again = Requirements(tmp_path / "envs", {})
    assert await again.folder("pip", wanted, 0.0) == folders[0]
    assert [path.name for path in (tmp_path / "envs").iterdir()] == [folders[0].name]


async def test_a_call_before_the_packages_are_there_says_so(tmp_path: Path, index: dict[str, str]) -> None:
    requirements = Requirements(tmp_path / "envs", index)
    wanted = ("greeting==1.0",)
    with pytest.raises(ToolFailed, match=r"\(greeting==1.0\) are still being installed, for 0 s now"):
        await requirements.folder("pip", wanted, 0.0)
    begun = requirements.state("pip", wanted)
    await requirements.aclose()
    ended = requirements.state("pip", wanted)
    assert (begun.status, begun.detail) == ("building", None)
    assert (ended.status, ended.detail) == ("failed", "the installation was given up")
    assert list((tmp_path / "envs").glob("*")) == []


async def test_what_cannot_be_installed_is_told_with_the_installers_words(
    tmp_path: Path, index: dict[str, str]
) -> None:
    requirements = Requirements(tmp_path / "envs", index)
    with pytest.raises(ToolFailed, match=r"\(unheard-of\) cannot be installed: .*unheard-of"):
        await requirements.folder("pip", ("unheard-of",), 60.0)
    state = requirements.state("pip", ("unheard-of",))
    assert (state.status, "unheard-of" in str(state.detail)) == ("failed", True)


async def test_the_state_is_seen_over_http(tmp_path: Path) -> None:
    async with serve(tmp_path) as served:
        plain = await create(served, {})
        none: dict[str, Any] = {
            "status": "none",
            "requirements": [],
            "fingerprint": None,
            "detail": None,
            "seconds": None,
        }
        assert (await served.http.get(f"/v1/tools/{plain['id']}/environment")).json() == {"pip": none, "npm": none}
        tool = await create(served, {"pip_requirements": [{"name": "greeting", "version": "1.0"}]})
        state = (await served.http.get(f"/v1/tools/{tool['id']}/environment")).json()
        assert state["pip"]["status"] in ("building", "failed")
        assert state["pip"]["requirements"] == ["greeting==1.0"]
        assert state["npm"] == none


async def create(served: Served, fields: dict[str, Any]) -> dict[str, Any]:
    answer = await served.http.post("/v1/tools/", json={"source_code": SOURCE, **fields})
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()
    return made


def test_requirements_are_names_and_versions() -> None:
    pip = [
        PipRequirement(name="b[extra]"),
        PipRequirement(name="a", version=">=1, <2"),
        PipRequirement(name="c", version="1.*"),
    ]
    assert words("pip", pip) == ("a>=1, <2", "b[extra]", "c==1.*")
    npm = [NpmRequirement(name="@scope/a", version="^1.2.0"), NpmRequirement(name="b")]
    assert words("npm", npm) == ("@scope/a@^1.2.0", "b")
    assert words("pip", None) == ()


@pytest.mark.parametrize(
    "name", ["-r", "--index-url=x", "git+https://a/b", "./here", "/etc", "a b", "a;b", "a @ file:///x", "http://a"]
)
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequest, match="is not the name of a package"):
        words("pip", [PipRequirement(name=name)])
    with pytest.raises(InvalidRequest, match="is not the name of a package"):
        words("npm", [NpmRequirement(name=name)])


@pytest.mark.parametrize("version", ["--pre", "1 --pre", "@ file:///x", "1;x", "https://a", "file:../x", "npm:other"])
def test_what_is_no_version_is_refused(version: str) -> None:
    with pytest.raises(InvalidRequest, match="is not a version"):
        words("pip", [PipRequirement(name="a", version=version)])
    with pytest.raises(InvalidRequest, match="is not a version"):
        words("npm", [NpmRequirement(name="a", version=version)])
