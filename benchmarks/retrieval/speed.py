"""How long a search takes, and how soon what was stored can be found: `python -m benchmarks search`.

The floor of a search does the same work one after the other in one thread, without a server: the query's words in
SQLite's index, the query's vector, and its product with the vectors of 10,000 messages.
"""

import os
import random
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from time import perf_counter

import httpx2
import numpy as np
from sqlalchemy import Connection, select

from benchmarks.programs import Program, free_port, started
from benchmarks.retrieval.adapter import Memory
from benchmarks.retrieval.data import FACTS, NAMES, SMALL_TALK
from benchmarks.retrieval.dialogues import dialogues
from benchmarks.sizes import Sizes
from benchmarks.table import Row, middle, percentile
from letta.app import close_server, open_server
from letta.models.minilm import DIMENSION, HANDLE, weights
from letta.models.minilm.reader import Reader
from letta.schemas.agents import CreateAgent
from letta.schemas.common import new_id
from letta.schemas.messages import Message, Role, TextPart
from letta.settings import Settings
from letta.store import messages, search, vectors, words
from letta.store.pieces import owner_word
from letta.store.tables import pieces

_START = datetime(2026, 1, 1, tzinfo=UTC)
_BATCH = 1_000
_QUESTIONS, _WARM_UP = 200, 10
_CANDIDATES = 40
_BY_WORDS = f"""SELECT pieces.text, best.worth FROM
    (SELECT rowid, bm25(piece_words, 0.0, 1.0) AS worth FROM piece_words WHERE piece_words MATCH ?
     ORDER BY worth LIMIT {_CANDIDATES}) AS best JOIN pieces ON pieces.id = best.rowid"""


async def run(sizes: Sizes, folder: Path) -> list[Row]:
    """The group `search`."""
    mine, stored = sizes.memories
    agent_id = await _fill(folder, mine, stored)
    async with _served(folder) as (program, http):
        rows = []
        modes = ("fts", "hybrid") if await Memory(http).knows_meaning() else ("fts",)
        for mode in modes:
            floor = _floor(folder, agent_id, mine, mode)
            rows += await _search(program, agent_id, mode, f"{mine:,} of {stored:,} messages", floor)
        if len(modes) == 1:
            return rows
        return [*rows, *await _embed(program, http), await _freshness(http)]


@asynccontextmanager
async def _served(folder: Path) -> AsyncIterator[tuple[Program, httpx2.AsyncClient]]:
    port = free_port()
    command = ["-m", "benchmarks.serve", "server", "--port", str(port), "--data-dir", str(folder)]
    settings = {"LETTA_DISCOVER_LOCAL": "false", "LETTA_LOG_LEVEL": "ERROR"}
    async with (
        started(command, "/v1/health", port, settings) as program,
        httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=120, follow_redirects=True) as http,
    ):
        yield program, http


async def _fill(folder: Path, mine: int, stored: int) -> str:
    """One agent with `mine` of `stored` messages, nine others with the rest. Their vectors point anywhere."""
    chance, server = random.Random(3), await open_server(Settings(data_dir=folder, discover_local=False), {})
    try:
        await server.indexer.stop()
        body = {"model": "letta/scripted", "include_base_tools": False, "embedding": HANDLE}
        ids = [(await server.agents.create(CreateAgent.model_validate(body))).id for _ in range(10)]
        counts = [mine, *[(stored - mine) // 9] * 9]
        for agent_id, count in zip(ids, counts, strict=True):
            for start in range(0, count, _BATCH):
                texts = [_said(chance) for _ in range(min(_BATCH, count - start))]
                await server.database.write(_store, agent_id, texts, start)
    finally:
        await close_server(server)
    return ids[0]


def _said(chance: random.Random) -> str:
    if chance.random() < 0.7:
        return f"{chance.choice(SMALL_TALK)} {chance.choice(SMALL_TALK)}"
    _, _, whole, _, _, values = chance.choice(FACTS)
    return whole.format(chance.choice(values.split(";")))


def _store(connection: Connection, agent_id: str, texts: Sequence[str], start: int) -> None:
    made = [
        Message(
            id=new_id("message"),
            role=(Role.USER, Role.ASSISTANT)[number % 2],
            parts=[TextPart(text=text)],
            agent_id=agent_id,
            conversation_id=agent_id,
            created_at=_START + timedelta(minutes=number),
            position=number,
            name=NAMES[number % len(NAMES)],
        )
        for number, text in enumerate(texts, start=start + 1)
    ]
    messages.add(connection, made)
    search.index(connection, made)
    waiting = connection.execute(select(pieces.c.id).where(pieces.c.owner == agent_id, pieces.c.wanted.is_not(None)))
    ids = list(waiting.scalars())
    drawn = np.random.default_rng(start).standard_normal((len(ids), DIMENSION)).astype(np.float32)
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    vectors.add(connection, HANDLE, [(piece, agent_id, row) for piece, row in zip(ids, drawn, strict=True)])
    connection.execute(pieces.update().where(pieces.c.id.in_(ids)).values(wanted=None))


async def _search(program: Program, agent_id: str, mode: str, what: str, floor: float) -> list[Row]:
    """Questions that differ, one after the other; the first ones bring the vectors into memory and do not count."""
    line, cpu = await program.connect(), 0.0
    taken: list[float] = []
    for number, question in enumerate(_questions(_WARM_UP + _QUESTIONS)):
        if number == _WARM_UP:
            cpu, taken = program.cpu(), []
        body = {"query": question, "agent_id": agent_id, "search_mode": mode, "limit": 10}
        answer = await line.ask("POST", "/v1/messages/search", body)
        if answer.status != 200 or not answer.json():
            raise RuntimeError(f"the search answered {answer.status}: {answer.body[:500]!r}")
        taken.append(answer.total * 1_000)
    line.close()
    used = (program.cpu() - cpu) / _QUESTIONS * 1_000
    name = {"fts": "full text", "hybrid": "both, with the query's vector"}[mode]
    aim = 10.0 if mode == "hybrid" else None
    return [
        Row(f"search {what}, {name}, p50", "ms", percentile(taken, 0.5), floor, aim=aim),
        Row(f"search {what}, {name}, CPU", "ms", used),
    ]


def _floor(folder: Path, agent_id: str, stored: int, mode: str) -> float:
    """The middle of what the bare work takes, in milliseconds."""
    database = sqlite3.connect(folder / "letta.db")
    found = weights.find(None, os.environ) if mode == "hybrid" else None
    reader = None if found is None else Reader(found)
    rows = np.random.default_rng(0).standard_normal((stored, DIMENSION)).astype(np.float32)
    taken = []
    for question in _questions(_QUESTIONS):
        match = f"owner_word : {owner_word(agent_id)} AND terms : ({words.fts5(words.phrases(question))})"
        begun = perf_counter()
        database.execute(_BY_WORDS, (match,)).fetchall()
        if reader is not None:
            np.argpartition(rows @ reader.embed([question])[0], -_CANDIDATES)
        taken.append((perf_counter() - begun) * 1_000)
    database.close()
    return middle(taken)


def _questions(count: int) -> list[str]:
    """No two are the same, because the vector of a query is remembered."""
    made = list(dict.fromkeys(later.format(who=name) for *_, later, _ in FACTS for name in NAMES))
    return random.Random(5).sample(made, count)


async def _embed(program: Program, http: httpx2.AsyncClient) -> list[Row]:
    """Messages from the request that brings them to the last vector."""
    dialogue, memory = next(dialogues(1)), Memory(http)
    begun, cpu = perf_counter(), program.cpu()
    agent_id, ids = await memory.remember(dialogue)
    await memory.embedded(f"agents/{agent_id}")
    wall, used = perf_counter() - begun, program.cpu() - cpu
    return [
        Row("messages embedded per second", "1/s", len(ids) / wall, more_is_better=True),
        Row("messages embedded per CPU second", "1/s", len(ids) / used, aim=150.0, more_is_better=True),
    ]


async def _freshness(http: httpx2.AsyncClient) -> Row:
    """A new passage, until it is found by its meaning alone."""
    memory, taken = Memory(http), []
    archive_id, _ = await memory.store(["The harbour master keeps a parrot in his office."])
    for number in range(5):
        begun = perf_counter()
        [made] = await memory.add(archive_id, [f"Number {number}: the lighthouse was painted in stripes."])
        await memory.until(partial(_is_found, memory, archive_id, made))
        taken.append(perf_counter() - begun)
    return Row("a new passage is found by meaning after", "s", middle(taken), aim=1.0)


async def _is_found(memory: Memory, archive_id: str, passage_id: str) -> bool:
    return passage_id in await memory.passages(archive_id, "a tower for ships", "vector", 20)
