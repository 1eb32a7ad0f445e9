"""How much database work a plain message is: statements, transactions and new connections, on both databases."""

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx2
from sqlalchemy import Engine, event
from sqlalchemy.pool import Pool

from benchmarks import postgres, programs
from benchmarks.programs import Program
from benchmarks.seed import AGENT
from benchmarks.sizes import Sizes
from benchmarks.steps import ANSWER
from benchmarks.table import Row
from benchmarks.talk import QUESTION
from letta.app import behind_gateway, create_app
from letta.settings import Settings

_WARM_UP = 3


async def run(sizes: Sizes, folder: Path) -> list[Row]:
    """Count on SQLite, and on PostgreSQL where its programs can run."""
    async with programs.provider() as upstream:
        rows = await _rows("SQLite", folder / "sqlite", None, upstream, sizes.steps)
        if sizes.postgres:
            with postgres.started() as url:
                if url is not None:
                    rows += await _rows("PostgreSQL", folder / "postgres", url, upstream, sizes.steps)
    return rows


async def _rows(name: str, folder: Path, url: str | None, upstream: Program, messages: int) -> list[Row]:
    counted = await count(folder, url, upstream, messages)
    return [
        Row(f"statements per plain message, {name}", "", counted["statement"] / messages),
        Row(f"transactions per plain message, {name}", "", counted["transaction"] / messages),
        Row(f"connections opened by {messages} messages, {name}", "", counted["connection"]),
    ]


async def count(
    folder: Path, url: str | None, upstream: Program, messages: int, statements: list[str] | None = None
) -> Counter[str]:
    """What `messages` messages to a warm agent do. The statements themselves are added to `statements`."""
    async with _served(folder, url, upstream) as http:
        made = await http.post("/v1/agents/", json={**AGENT, "model": f"openai/{ANSWER}"})
        path = f"/v1/agents/{made.raise_for_status().json()['id']}/messages"
        for _ in range(_WARM_UP):
            (await http.post(path, json={"input": QUESTION})).raise_for_status()
        with _counting([] if statements is None else statements) as counted:
            for _ in range(messages):
                (await http.post(path, json={"input": QUESTION})).raise_for_status()
    return counted


@asynccontextmanager
async def _served(folder: Path, url: str | None, upstream: Program) -> AsyncIterator[httpx2.AsyncClient]:
    """A server in this process, where its statements can be seen."""
    settings = Settings(data_dir=folder, database_url=url, discover_local=False)
    app = create_app(settings, programs.keys(upstream))
    transport = httpx2.ASGITransport(behind_gateway(app, settings))
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=transport, base_url="http://letta.test", timeout=60) as http,
    ):
        yield http


@contextmanager
def _counting(statements: list[str]) -> Iterator[Counter[str]]:
    counted: Counter[str] = Counter()

    def executed(_connection: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        # How a transaction begins is counted as a transaction.
        if not statement.startswith("BEGIN"):
            counted["statement"] += 1
            statements.append(statement)

    def begun(_connection: Any) -> None:
        counted["transaction"] += 1

    def connected(_connection: Any, _record: Any) -> None:
        counted["connection"] += 1

    listeners = ((Engine, "before_cursor_execute", executed), (Engine, "begin", begun), (Pool, "connect", connected))
    for target, name, listener in listeners:
        event.listen(target, name, listener)
    try:
        yield counted
    finally:
        for target, name, listener in listeners:
            event.remove(target, name, listener)
