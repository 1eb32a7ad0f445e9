"""Readers of one run that has nothing to say: what they weigh, what they cost, and how soon all hear of its end."""

import asyncio
from pathlib import Path
from time import perf_counter

from benchmarks import programs
from benchmarks.programs import Program
from benchmarks.seed import AGENT
from benchmarks.sizes import Sizes
from benchmarks.table import Row
from benchmarks.talk import QUESTION

_SILENT = "openai/bench-20-60000-0"
_AT_ONCE = 50
_SETTLE = 2.0


class Watcher(asyncio.Protocol):
    """One reader over one connection. `begun` and `ended` are set with the first frame and the last."""

    def __init__(self) -> None:
        self.begun, self.ended = asyncio.Event(), asyncio.Event()

    def data_received(self, data: bytes) -> None:
        self.begun.set()
        if b"[DONE]" in data:
            self.ended.set()


async def run(sizes: Sizes, folder: Path) -> list[Row]:
    """A server, a run whose model says nothing, and its readers."""
    async with programs.provider() as upstream, programs.server(folder, upstream) as ours:
        line = await ours.connect()
        agent_id = (await line.ask("POST", "/v1/agents/", {**AGENT, "model": _SILENT})).json()["id"]
        begun = await line.ask("POST", f"/v1/agents/{agent_id}/messages/async", {"input": QUESTION})
        run_id = begun.json()["id"]
        warm = await _open(ours, run_id, _AT_ONCE)
        await asyncio.sleep(_SETTLE)
        before, cpu = ours.memory(), ours.cpu()
        watchers = [*warm, *await _open(ours, run_id, sizes.watchers)]
        opened = ours.cpu() - cpu
        await asyncio.sleep(_SETTLE)
        after, cpu = ours.memory(), ours.cpu()
        await asyncio.sleep(_SETTLE)
        idle = (ours.cpu() - cpu) / _SETTLE
        cancelled = perf_counter()
        await line.ask("POST", f"/v1/agents/{agent_id}/messages/cancel", {})
        async with asyncio.timeout(60):
            await asyncio.gather(*(watcher.ended.wait() for watcher in watchers))
        told = perf_counter() - cancelled
        line.close()
    count = sizes.watchers
    return [
        Row(f"memory of {count} idle readers (RSS)", "MB", max(after[0] - before[0], 0.0), aim=100),
        Row(f"memory of {count} idle readers (PSS)", "MB", max(after[1] - before[1], 0.0)),
        Row("CPU to begin a stream", "ms", opened / count * 1e3),
        Row(f"CPU of {count} idle readers", "% of a core", idle * 100),
        Row(f"end of the run until {count + _AT_ONCE} readers know", "ms", told * 1e3),
    ]


async def _open(program: Program, run_id: str, count: int) -> list[Watcher]:
    """Readers that got their first frame."""
    body = b"{}"
    head = (
        f"POST /v1/runs/{run_id}/stream HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    watchers: list[Watcher] = []
    for start in range(0, count, _AT_ONCE):
        group = [await _connect(program.port, head.encode() + body) for _ in range(min(_AT_ONCE, count - start))]
        async with asyncio.timeout(60):
            await asyncio.gather(*(watcher.begun.wait() for watcher in group))
        watchers += group
    return watchers


async def _connect(port: int, request: bytes) -> Watcher:
    transport, watcher = await asyncio.get_running_loop().create_connection(Watcher, "127.0.0.1", port)
    transport.write(request)
    return watcher
