"""Servers on either database."""

from collections.abc import AsyncIterator

import pytest
from tests.arrival.conftest import Serve, make_server, postgres_url, two_servers
from tests.serving import Served

__all__ = ["make_server", "postgres_url", "two_servers"]


@pytest.fixture
async def served(make_server: Serve) -> AsyncIterator[Served]:
    """A server whose model answers by its rules."""
    async with make_server() as running:
        yield running
