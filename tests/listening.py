"""Servers in the test process: a free port of this machine, and an end that waits for every connection."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

Handle = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[object]]


@asynccontextmanager
async def listening(handle: Handle) -> AsyncIterator[str]:
    """Let `handle` have every connection to a free port. Answers the URL; at the end connections are closed."""
    writers: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        writers[task] = writer
        await handle(reader, writer)

    listener = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    finally:
        listener.close()
        for writer in writers.values():
            writer.close()
        await asyncio.gather(*writers, return_exceptions=True)
