"""Fixtures of the openharness tests."""

import pytest


@pytest.fixture
def anyio_backend() -> str:
    """The packages run on asyncio."""
    return "asyncio"
