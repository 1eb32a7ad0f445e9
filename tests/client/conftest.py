"""Clients without a network, and without what the environment of the machine says."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from letta.client import Letta

LOCAL = {"scripted_models": True, "discover_local": False, "sqlite_synchronous": "OFF", "shutdown_grace": 1.0}


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("LETTA_") or name.endswith(("_API_KEY", "_BASE_URL"))]:
        monkeypatch.delenv(name)


@pytest.fixture
def letta(tmp_path: Path) -> Iterator[Letta]:
    """A client of a server in this process."""
    with Letta.local(tmp_path, **LOCAL) as client:
        yield client
