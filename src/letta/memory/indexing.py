"""The embedder: gives stored text its vectors, in the background, whatever happens meanwhile.

Works through the list in the database, so that a restart loses nothing; a model that fails rests and is asked again.
Knows nothing of who stored the text.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from letta.errors import LettaError, ModelBadRequest, StoreUnavailable
from letta.models.embeddings import Embedder, Embeddings
from letta.store import embedding_jobs
from letta.store.access import Database
from letta.store.embedding_jobs import Job

log = logging.getLogger(__name__)

POLL = 0.25
"""Seconds between looks at an empty list: how long a new text waits before its turn."""
BATCH = 64
FIRST_REST, LONGEST_REST = 1.0, 60.0
"""Seconds a failing model rests: doubled with every failure."""


@dataclass(slots=True)
class _Rest:
    """A model that failed: until when it is left alone, and what it said."""

    until: float
    seconds: float
    message: str


class Indexer:
    """Start it with `start`, stop it with `stop`. One per process; several processes share the work."""

    def __init__(
        self,
        database: Database,
        embeddings: Embeddings,
        *,
        poll: float = POLL,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._embeddings = embeddings
        self._poll = poll
        self._clock = clock
        self._resting: dict[str, _Rest] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to work in the background."""
        self._task = asyncio.create_task(self._work(), name="embed stored text")

    async def stop(self) -> None:
        """Stop at once; what is not finished is done after the next start."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def failure(self, handle: str) -> str | None:
        """Why a model cannot embed right now, or None."""
        rest = self._resting.get(handle)
        return None if rest is None else rest.message

    async def round(self) -> bool:
        """Embed one batch. False when nothing was waiting."""
        moment = self._clock()
        resting = [handle for handle, rest in self._resting.items() if rest.until > moment]
        jobs = await self._take(resting)
        if not jobs:
            return False
        try:
            await self._embed(self._embeddings.embedder(jobs[0].model), jobs)
        except (LettaError, TimeoutError) as error:
            self._rest(jobs[0].model, error)
            if self._database.dialect == "postgresql":
                await self._database.write(embedding_jobs.release, jobs)
        else:
            if self._resting.pop(jobs[0].model, None):
                log.info("%s embeds again", jobs[0].model)
        return True

    async def _take(self, resting: list[str]) -> list[Job]:
        if self._database.dialect == "sqlite":
            return await self._database.read(embedding_jobs.take, BATCH, resting)
        return await self._database.write(embedding_jobs.take, BATCH, resting)

    async def _embed(self, embedder: Embedder, jobs: list[Job]) -> None:
        """Embed and keep; when the model refuses the texts, find the one it refuses by halving."""
        try:
            made = await embedder.embed([job.text for job in jobs])
        except ModelBadRequest as error:
            if len(jobs) == 1:
                log.warning("%s cannot embed a text, which stays findable by its words: %s", jobs[0].model, error)
                await self._database.write(embedding_jobs.give_up, jobs, error.message)
                return
            middle = len(jobs) // 2
            await self._embed(embedder, jobs[:middle])
            await self._embed(embedder, jobs[middle:])
            return
        await self._database.write(embedding_jobs.finish, jobs, list(made))

    def _rest(self, handle: str, error: LettaError | TimeoutError) -> None:
        before = self._resting.get(handle)
        seconds = FIRST_REST if before is None else min(LONGEST_REST, before.seconds * 2)
        message = str(error) or "it did not answer in time"
        self._resting[handle] = _Rest(self._clock() + seconds, seconds, message)
        log.log(
            logging.WARNING if before is None else logging.DEBUG,
            "%s cannot embed now, text stays findable by its words: %s",
            handle,
            message,
        )

    async def _work(self) -> None:
        while True:
            try:
                busy = await self.round()
            except StoreUnavailable:
                busy = False  # the store has logged it, and the next look may find it back
            except Exception:
                # One bad batch must not end embedding for good; it is tried again after a pause.
                log.exception("embedding failed unexpectedly")
                busy = False
            if not busy:
                await asyncio.sleep(self._poll)
