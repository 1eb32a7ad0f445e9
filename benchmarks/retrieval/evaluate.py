"""Recall of full text, meaning and both, on conversations and on documents: `python -m benchmarks retrieval`.

Without the local embedding model there is full text only.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

import httpx2

from benchmarks.programs import free_port, started
from benchmarks.retrieval.adapter import Memory
from benchmarks.retrieval.dialogues import Question, dialogues
from benchmarks.retrieval.documents import library
from benchmarks.sizes import Sizes
from benchmarks.table import Row

MODES = ("fts", "vector", "hybrid")
DEPTHS = (5, 10, 20)
NAMES = {"fts": "full text", "vector": "meaning", "hybrid": "both"}
MARGIN = 0.01
"""How much worse than the better of the two both together may be."""

Search = Callable[[str, str, int], Awaitable[list[str]]]
Recall = dict[tuple[str, int], float]


async def run(sizes: Sizes, folder: Path) -> list[Row]:
    """The group `retrieval`."""
    port = free_port()
    command = ["-m", "benchmarks.serve", "server", "--port", str(port), "--data-dir", str(folder)]
    settings = {"LETTA_DISCOVER_LOCAL": "false", "LETTA_LOG_LEVEL": "ERROR", "LETTA_SQLITE_SYNCHRONOUS": "OFF"}
    async with (
        started(command, "/v1/health", port, settings),
        httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=120, follow_redirects=True) as http,
    ):
        memory = Memory(http)
        modes = MODES if await memory.knows_meaning() else MODES[:1]
        return [
            *_rows("conversations", modes, await _conversations(memory, sizes.dialogues)),
            *_rows("documents", modes, await _documents(memory, sizes.places)),
        ]


async def _conversations(memory: Memory, count: int) -> Recall:
    total: list[Recall] = []
    for dialogue in dialogues(count):
        agent_id, ids = await memory.remember(dialogue)
        await memory.embedded(f"agents/{agent_id}")

        async def search(query: str, mode: str, limit: int, agent_id: str = agent_id) -> list[str]:
            return await memory.messages(agent_id, query, mode, limit)

        total.append(await _recall(search, dialogue.questions, ids))
    return {key: sum(one[key] for one in total) / len(total) for key in total[0]}


async def _documents(memory: Memory, places: int) -> Recall:
    made = library(places)
    archive_id, ids = await memory.store(made.passages)
    await memory.embedded(f"archives/{archive_id}")

    async def search(query: str, mode: str, limit: int) -> list[str]:
        return await memory.passages(archive_id, query, mode, limit)

    return await _recall(search, made.questions, ids)


async def _recall(search: Search, questions: Sequence[Question], ids: Sequence[str]) -> Recall:
    """The share of evidence among the first results, by mode and depth."""
    hits = {(mode, depth): 0.0 for mode in MODES for depth in DEPTHS}
    for question in questions:
        wanted = {ids[place] for place in question.evidence}
        for mode in MODES:
            found = await search(question.text, mode, max(DEPTHS))
            for depth in DEPTHS:
                hits[mode, depth] += len(wanted.intersection(found[:depth])) / len(wanted)
    return {key: value / len(questions) for key, value in hits.items()}


def _rows(kind: str, modes: Sequence[str], recall: Mapping[tuple[str, int], float]) -> list[Row]:
    rows = []
    for depth in DEPTHS:
        best = max(recall["fts", depth], recall["vector", depth])
        for mode in modes:
            aim = best - MARGIN if mode == "hybrid" else None
            what = f"{kind}, R@{depth}, {NAMES[mode]}"
            rows.append(Row(what, "share", recall[mode, depth], aim=aim, more_is_better=True))
    return rows
