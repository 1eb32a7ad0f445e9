"""Servers on either database, and a model that can be held back."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Literal

import pytest
from tests.serving import Served, serve
from tests.store.conftest import _empty, postgres_url

from letta.models.protocol import ModelRequest
from letta.store.database import open_database

__all__ = ["postgres_url"]

Serve = Callable[..., AbstractAsyncContextManager[Served]]


class Soon(asyncio.Event):
    """An event that comes within twenty seconds, or never."""

    async def wait(self) -> Literal[True]:
        async with asyncio.timeout(20):
            return await super().wait()


class Gate:
    """A model step that says when it was reached and waits to be let through."""

    def __init__(self, reply: Any = "through") -> None:
        self.reached, self.open, self._reply = Soon(), Soon(), reply

    async def __call__(self, request: ModelRequest) -> Any:
        self.reached.set()
        await self.open.wait()
        return self._reply


async def _empty_postgres(url: str) -> None:
    database = await open_database(url)
    await database.write(_empty)
    await database.close()


def _makes(folder: Path, url: str) -> Serve:
    numbers = itertools.count()

    def make(*script: Any, **settings: Any) -> AbstractAsyncContextManager[Served]:
        settings = {"encryption_key": "one for all", **settings}
        return serve(folder / str(next(numbers)), script, database_url=url, **settings)

    return make


@pytest.fixture
async def two_servers(tmp_path: Path, postgres_url: str) -> Serve:
    """Makes servers that share one PostgreSQL: each is a replica of its own."""
    await _empty_postgres(postgres_url)
    return _makes(tmp_path, postgres_url)


@pytest.fixture(params=["sqlite", "postgresql"])
async def make_server(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Serve]:
    """Makes servers, one after the other, on the same database: called again, it is a restart."""
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_url")
        await _empty_postgres(url)
        yield _makes(tmp_path, url)
        return

    def make(*script: Any, **settings: Any) -> AbstractAsyncContextManager[Served]:
        return serve(tmp_path, script, **settings)

    yield make
