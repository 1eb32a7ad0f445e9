"""Takes runs that belong to nobody: of schedules, of batches, and those accepted by a server that does not execute.

Each is taken by one process, as many in each as it has places for. Knows nothing of what is done with a run.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable

from letta.errors import StoreUnavailable
from letta.store import runs
from letta.store.access import Database
from letta.store.notices import Notices
from letta.store.runs import Work

log = logging.getLogger(__name__)

DEFAULT_SLOTS = 64
QUEUED = "queued"
"""The notice that there are runs that belong to nobody."""

_OFTEN, _SELDOM, _AFTER_FAILURE = 0.25, 1.0, 2.5
_ALONE = 60.0


class Unowned:
    """The places of one process. `begin` is called with each run that was taken for `owner`."""

    def __init__(
        self, database: Database, notices: Notices, begin: Callable[[Work], object], *, owner: str, slots: int
    ) -> None:
        self._database, self._notices, self._begin = database, notices, begin
        self._owner, self._slots = owner, slots
        self._taken: set[str] = set()
        self._left = False
        self._look = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        notices.listen(QUEUED, lambda _: self._look.set())

    def start(self) -> None:
        self._task = asyncio.create_task(self._look_for_runs(), name="runs that belong to nobody")

    async def stop(self) -> None:
        """Take no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def tell(self) -> None:
        """Say, to every process, that there may be runs that belong to nobody."""
        self._notices.tell(QUEUED, everybody=True)

    def ended(self, run_id: str) -> None:
        """A run is over for this process: its place is free, and perhaps its conversation."""
        self._taken.discard(run_id)
        if self._left:
            self._look.set()

    async def _look_for_runs(self) -> None:
        pause = 0.0
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._look.wait(), pause)
            self._look.clear()
            try:
                self._left = await self._take()
                # Those that are left wait for a place or a conversation, which may get free in another process.
                often = self._left or not self._notices.reach
                pause = _OFTEN if often else _ALONE if self._notices.alone else _SELDOM
            except StoreUnavailable:
                pause = _AFTER_FAILURE
            except Exception:
                # Without this task nobody takes what schedules, batches and other servers accept.
                log.exception("runs could not be taken; it is tried again")
                pause = _AFTER_FAILURE

    async def _take(self) -> bool:
        """Take what there are places for. Whether some are left."""
        free = self._slots - len(self._taken)
        if free <= 0:
            return True
        if not await self._database.read(runs.any_unowned):
            return False
        for work in await self._database.write(runs.take, self._owner, free):
            self._taken.add(work.id)
            self._begin(work)
        return await self._database.read(runs.any_unowned)
