"""Cancelling that lets a transaction come to its end. Knows nothing of runs."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


async def to_the_end(work: Awaitable[T]) -> tuple[T, bool]:
    """Wait for something even if the task is cancelled meanwhile, however often.

    Answers what came of it and whether the task was cancelled: the caller notes the first and then has to stop.

    Raises:
        asyncio.CancelledError: the task was cancelled, and the work failed.
        Exception: what the work raised.
    """
    task = asyncio.ensure_future(work)
    is_cancelled = False
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            is_cancelled = True
    if is_cancelled and (task.cancelled() or task.exception() is not None):
        raise asyncio.CancelledError
    return task.result(), is_cancelled
