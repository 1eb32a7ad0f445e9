"""Calls that wait too long: they are closed, with a result that says so, and the conversation is free again.

Every process that has the setting looks; each call is closed once. The model reads of it with the next message.
"""

import asyncio
import logging
from datetime import datetime, timedelta

from sqlalchemy import Connection

from letta.errors import NotFound, StoreUnavailable
from letta.runtime import approvals
from letta.runtime.closing import close_pending
from letta.store import waiting
from letta.store.access import Database
from letta.store.query import now

log = logging.getLogger(__name__)

_LONGEST_PAUSE, _SHORTEST_PAUSE = 5.0, 0.05
_AT_ONCE = 100


class Expiry:
    """Closes calls that have waited for `seconds`; None lets them wait for ever, and costs nothing."""

    def __init__(self, database: Database, seconds: float | None) -> None:
        self._database = database
        self._seconds = seconds
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look."""
        if self._seconds is not None:
            self._task = asyncio.create_task(self._keep_looking(self._seconds), name="expiry of calls that wait")

    async def stop(self) -> None:
        """Leave what waits to the next start."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _keep_looking(self, seconds: float) -> None:
        while True:
            await asyncio.sleep(min(_LONGEST_PAUSE, max(_SHORTEST_PAUSE, seconds / 10)))
            try:
                await self.look(now() - timedelta(seconds=seconds))
            except StoreUnavailable:
                log.warning("the database does not answer; calls that wait are not looked at")

    async def look(self, before: datetime) -> None:
        """Close what waits since before a moment."""
        for conversation_id in await self._database.read(waiting.since_before, before, _AT_ONCE):
            if run_id := await self._database.write(_close, conversation_id, before):
                log.info("nobody answered the calls of run %s in time: they are closed", run_id)


def _close(connection: Connection, conversation_id: str, before: datetime) -> str | None:
    """The run whose calls were closed; None when they were answered, or began to be, a moment ago."""
    if not waiting.is_free(connection, conversation_id):
        return None
    try:
        return close_pending(connection, conversation_id, approvals.EXPIRED, before=before)
    except NotFound:
        return None  # deleted since it was found
