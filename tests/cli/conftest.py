"""A command line without keys, and a server process shared by the tests that only talk to one."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.process import server

_KEPT = ("PATH", "LANG", "SYSTEMROOT", "PYTHONPYCACHEPREFIX")


@pytest.fixture
def plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No keys of the machine the tests run on, its own home, and nothing looked for in the network."""
    for name in set(os.environ) - set(_KEPT) - {"PYTEST_CURRENT_TEST"}:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("LETTA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("LETTA_DISCOVER_LOCAL", "false")
    monkeypatch.setenv("LETTA_SQLITE_SYNCHRONOUS", "OFF")


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a `letta server` process."""
    with server(tmp_path_factory.mktemp("running")) as (url, _):
        yield url
