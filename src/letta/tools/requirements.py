"""Packages tools need: one folder for every set of requirements, built in the background and kept.

A folder is named after its contents and appears whole or not at all. Only built packages are installed (wheels, and
npm packages without their install scripts), so that no code of a package runs outside of the sandbox.
"""

import asyncio
import hashlib
import json
import logging
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from letta.errors import InvalidRequest, ToolFailed
from letta.schemas.tools import NpmRequirement, PipRequirement
from letta.tools.sandbox.isolation import interpreter

log = logging.getLogger(__name__)

Kind = Literal["pip", "npm"]
Requirement = PipRequirement | NpmRequirement

_MODELS: dict[Kind, type[Requirement]] = {"pip": PipRequirement, "npm": NpmRequirement}
_NAMES: dict[Kind, re.Pattern[str]] = {
    "pip": re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?(?:\[[A-Za-z0-9._, -]+\])?"),
    "npm": re.compile(r"(?:@[a-z0-9~][a-z0-9._~-]*/)?[a-z0-9~][a-z0-9._~-]*"),
}
_ONE_VERSION = r"(?:==|>=|<=|!=|~=|>|<)\s*[A-Za-z0-9][A-Za-z0-9.*+!_-]*"
_VERSIONS: dict[Kind, re.Pattern[str]] = {
    "pip": re.compile(rf"(?:{_ONE_VERSION}|[A-Za-z0-9][A-Za-z0-9.*+!_-]*)(?:\s*,\s*{_ONE_VERSION})*"),
    "npm": re.compile(r"[\^~<>=]{0,2}\s*[A-Za-z0-9][A-Za-z0-9.*+_-]*"),
}
_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS")
_PASSED_ON = ("PATH", "HOME", "LANG", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", *_CERTIFICATES)
_PASSED_ON_PREFIXES = ("PIP_", "UV_", "NPM_CONFIG_", "npm_config_")
_PROXIES = frozenset({"http_proxy", "https_proxy", "no_proxy", "all_proxy"})
_BUILD_SECONDS = 600.0
_RETRY_SECONDS = 30.0
_LOG_CHARACTERS = 2000
_DONE = ".letta-ready"


@dataclass(frozen=True, slots=True)
class State:
    """How far a set of requirements is. `detail` is the installer's last words when it failed."""

    status: Literal["none", "building", "ready", "failed"]
    requirements: tuple[str, ...] = ()
    fingerprint: str | None = None
    detail: str | None = None
    seconds: float | None = None


@dataclass(slots=True)
class _Build:
    task: asyncio.Task[None]
    began: float
    ended: float | None = None
    problem: str | None = "the installation was given up"


def words(kind: Kind, requirements: Sequence[Requirement] | None) -> tuple[str, ...]:
    """Requirements (or their JSON, as stored tools have them) as the installer takes them, sorted.

    Raises:
        letta.errors.InvalidRequest: a name or version is not one: addresses, paths and options are refused.
    """
    made = set()
    for given in requirements or ():
        requirement = _MODELS[kind].model_validate(given)
        name, version = requirement.name.strip(), (requirement.version or "").strip()
        if not _NAMES[kind].fullmatch(name):
            raise InvalidRequest(
                f"{kind}_requirements: {name!r} is not the name of a package. Addresses, paths and options are refused."
            )
        if version and not _VERSIONS[kind].fullmatch(version):
            raise InvalidRequest(f"{kind}_requirements: {version!r} is not a version of {name}")
        if kind == "npm":
            made.add(f"{name}@{version}" if version else name)
        else:
            made.add(f"{name}{version if version[:1] in '=<>!~' else f'=={version}'}" if version else name)
    return tuple(sorted(made))


class Requirements:
    """The folders of packages below `folder`. `environment` is what installers may see parts of (proxies, indexes)."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._environment = {
            name: value
            for name, value in environment.items()
            if name in _PASSED_ON or name.startswith(_PASSED_ON_PREFIXES) or name.lower() in _PROXIES
        }
        self._builds: dict[Path, _Build] = {}

    def state(self, kind: Kind, wanted: tuple[str, ...]) -> State:
        """How far a set is; looks at what is on the disk, too."""
        if not wanted:
            return State("none")
        path = self._path(kind, wanted)
        build = self._builds.get(path)
        if (path / _DONE).exists():
            return State("ready", wanted, path.name)
        if build is None:
            return State("none", wanted, path.name)
        seconds = round((build.ended or time.monotonic()) - build.began, 1)
        status: Literal["building", "failed"] = "failed" if build.task.done() else "building"
        # Until then the problem is what it will be if nobody waits for its end.
        return State(status, wanted, path.name, build.problem if status == "failed" else None, seconds)

    def begin(self, kind: Kind, wanted: tuple[str, ...]) -> None:
        """Start to build a set in the background, unless it is there or on its way. Needs a running event loop.

        What failed is tried again half a minute later at the earliest.
        """
        path = self._path(kind, wanted)
        if not wanted or (path / _DONE).exists():
            return
        build = self._builds.get(path)
        if build and (not build.task.done() or time.monotonic() - (build.ended or 0) < _RETRY_SECONDS):
            return
        self._builds[path] = _Build(asyncio.create_task(self._build(kind, wanted, path)), time.monotonic())

    async def folder(self, kind: Kind, wanted: tuple[str, ...], patience: float) -> Path:
        """The folder of a set, built first if need be; waits at most `patience` seconds.

        Raises:
            letta.errors.ToolFailed: it is not ready yet, or cannot be built; the message says which and why.
        """
        self.begin(kind, wanted)
        path = self._path(kind, wanted)
        if not (path / _DONE).exists():
            await asyncio.wait({self._builds[path].task}, timeout=patience)
        state = self.state(kind, wanted)
        what = ", ".join(wanted)
        if state.status == "building":
            raise ToolFailed(
                f"the packages of this tool ({what}) are still being installed, for {state.seconds:.0f} s now. "
                "Try again in a moment."
            )
        if state.status != "ready":
            raise ToolFailed(f"the packages of this tool ({what}) cannot be installed: {state.detail}")
        return path

    async def aclose(self) -> None:
        """Give up what is being built."""
        tasks = [build.task for build in self._builds.values() if not build.task.done()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _path(self, kind: Kind, wanted: tuple[str, ...]) -> Path:
        version = f"{sys.version_info.major}.{sys.version_info.minor}" if kind == "pip" else "node"
        known = json.dumps([kind, version, os.uname().machine, wanted])
        return self._folder / f"{kind}-{hashlib.sha256(known.encode()).hexdigest()[:16]}"

    async def _build(self, kind: Kind, wanted: tuple[str, ...], path: Path) -> None:
        log.info("installing %s for tools", ", ".join(wanted))
        build = self._scratch()  # at once: a folder made in a thread would be left behind by a cancellation
        problem = self._builds[path].problem
        try:
            problem = await self._install(kind, wanted, build)
            if problem is None:
                await asyncio.to_thread(_finish, build, path, wanted)
        except OSError as error:
            problem = str(error)
        finally:
            self._builds[path].problem = problem
            self._builds[path].ended = time.monotonic()
            await asyncio.shield(asyncio.to_thread(shutil.rmtree, build, True))
            if problem is not None:
                log.warning("packages for tools (%s) were not installed: %s", ", ".join(wanted), problem)

    def _scratch(self) -> Path:
        self._folder.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=".building-", dir=self._folder))
        # Users of the sandbox read what becomes of it.
        folder.chmod(0o755)
        return folder

    async def _install(self, kind: Kind, wanted: tuple[str, ...], folder: Path) -> str | None:
        """Run the installer. Answers what went wrong, or None."""
        command = _pip(wanted, folder) if kind == "pip" else _npm(wanted, folder)
        if command is None:
            return "npm is not there: install Node.js"
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=folder,
            env=self._environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            said, _ = await asyncio.wait_for(process.communicate(), _BUILD_SECONDS)
        except TimeoutError:
            return f"the installer took more than {_BUILD_SECONDS:.0f} s"
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode == 0:
            return None
        return (
            said.decode("utf-8", "replace").strip()[-_LOG_CHARACTERS:]
            or f"the installer ended with {process.returncode}"
        )


def _finish(build: Path, path: Path, wanted: tuple[str, ...]) -> None:
    """Give a folder that is complete its name; another process may have been faster."""
    (build / _DONE).write_text("\n".join(wanted))
    if not path.exists():
        build.rename(path)


def _pip(wanted: Sequence[str], folder: Path) -> list[str]:
    """With uv where it is, else with pip, which says itself when it is missing."""
    options = ["--quiet", "--target", str(folder), "--only-binary", ":all:", "--", *wanted]
    beside = Path(sys.executable).parent / "uv"
    uv = str(beside) if beside.exists() else shutil.which("uv")
    if uv:
        return [uv, "pip", "install", "--python", interpreter(), "--link-mode", "copy", *options]
    return [interpreter(), "-m", "pip", "install", "--disable-pip-version-check", *options]


def _npm(wanted: Sequence[str], folder: Path) -> list[str] | None:
    npm = shutil.which("npm")
    options = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel", "error"]
    return [npm, "install", "--prefix", str(folder), *options, "--", *wanted] if npm else None
