"""Waiting for something to its end, however often one is cancelled meanwhile."""

import asyncio

import pytest

from letta.runtime.cancelling import to_the_end


class Work:
    """Goes on until `open` is set, and then answers or fails."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.begun, self.open, self._failure = asyncio.Event(), asyncio.Event(), failure

    async def __call__(self) -> str:
        self.begun.set()
        await self.open.wait()
        if self._failure is not None:
            raise self._failure
        return "done"


async def cancelled(task: "asyncio.Task[tuple[str, bool]]", times: int) -> None:
    for _ in range(times):
        task.cancel()
        await asyncio.sleep(0)  # lets the task see each of them


@pytest.mark.parametrize("times", [0, 1, 3])
async def test_result_is_known_and_whether_one_was_cancelled(times: int) -> None:
    work = Work()
    task = asyncio.create_task(to_the_end(work()))
    await work.begun.wait()
    await cancelled(task, times)
    work.open.set()
    assert await task == ("done", times > 0)


async def test_failure_is_that_of_the_work_unless_one_was_cancelled() -> None:
    for times, expected in ((0, ValueError), (2, asyncio.CancelledError)):
        work = Work(ValueError("no"))
        task = asyncio.create_task(to_the_end(work()))
        await work.begun.wait()
        await cancelled(task, times)
        work.open.set()
        with pytest.raises(expected):
            await task
