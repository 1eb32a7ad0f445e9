"""Fixtures of the openharness_letta tests."""

from collections.abc import AsyncGenerator, Iterator

import pytest
from tests.openharness_letta.wire_server import WireServer, wire_server

from openharness_letta import LettaAdapter


@pytest.fixture
def anyio_backend() -> str:
    """The packages run on asyncio."""
    return "asyncio"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody's own server or key takes part."""
    monkeypatch.delenv("LETTA_BASE_URL", raising=False)
    monkeypatch.delenv("LETTA_API_KEY", raising=False)


@pytest.fixture
def server() -> Iterator[WireServer]:
    with wire_server() as server:
        yield server


@pytest.fixture
async def adapter(server: WireServer) -> AsyncGenerator[LettaAdapter, None]:
    async with LettaAdapter(base_url=server.base_url) as adapter:
        yield adapter


@pytest.fixture
async def agent_id(adapter: LettaAdapter) -> str:
    return await adapter.create_agent({"name": "ann"})
