"""What happens when a run has ended: those who want to know are told, and nobody waits for them."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from letta import log as logs
from letta.runtime.events import Finished
from letta.store.runs import Work

log = logging.getLogger(__name__)

AfterRun = Callable[[Work, Finished], Awaitable[None]]
"""Called once for each run that ended here, after its row says so."""


class Afterwards:
    """Who is told of the ends of runs."""

    def __init__(self) -> None:
        self.hooks: list[AfterRun] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def call(self, work: Work, finished: Finished) -> None:
        """Tell everybody of the end of a run."""
        for hook in self.hooks:
            task = asyncio.create_task(self._tell(hook, work, finished), name=f"after {work.id}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Stop what goes on."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _tell(self, hook: AfterRun, work: Work, finished: Finished) -> None:
        with logs.bind(run_id=work.id, agent_id=work.agent_id):
            try:
                await hook(work, finished)
            except Exception:
                # The run is over and answered: what comes after it must not reach anybody but the operator.
                log.exception("what follows a run failed")
