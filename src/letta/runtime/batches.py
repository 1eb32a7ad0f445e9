"""Batches: many requests accepted at once, worked on by whatever process has a place for them."""

import logging
from collections.abc import Callable
from datetime import timedelta

from letta.models.registry import Registry
from letta.runtime.runner import Runner
from letta.schemas.batches import Batch, BatchRequest, CreateBatch
from letta.schemas.common import new_id
from letta.store import batches
from letta.store.access import Database
from letta.store.query import now
from letta.store.repeats import PLAIN, Arrival, SentBefore
from letta.store.runs import Work

log = logging.getLogger(__name__)

PREFIX = "job"
"""Batches are jobs in the words of older SDKs."""

_APART = timedelta(microseconds=1)


class Batches:
    """The batches of a database."""

    def __init__(self, database: Database, registry: Registry, runner: Runner) -> None:
        self._database, self._registry, self._runner = database, registry, runner

    async def create(self, body: CreateBatch, check: Callable[[BatchRequest], None], arrival: Arrival = PLAIN) -> Batch:
        """Accept a batch: all its runs are stored when this returns. `check` refuses requests by raising.

        One that was sent before, as `arrival` tells, is the batch that is there already.

        Raises:
            letta.errors.InvalidValue: the key of the request is that of another batch.
            letta.errors.LettaError: one of the requests cannot be accepted, so none is.
        """
        while (batch_id := await self._database.read(batches.sent_before, arrival)) is None:
            try:
                batch_id = await self._accept(body, check, arrival)
            except SentBefore:
                log.debug("the same batch was sent at the same moment")
                continue
            self._runner.look()
            break
        return await self._database.read(batches.get, batch_id)

    async def _accept(self, body: CreateBatch, check: Callable[[BatchRequest], None], arrival: Arrival) -> str:
        for request in body.requests:
            check(request)
            if request.override_model is not None:
                self._registry.resolve(request.override_model)
        moment = now()
        works = [
            Work(new_id("run"), request.agent_id, request.agent_id, _stored(request), True, 0, moment + place * _APART)
            for place, request in enumerate(body.requests)
        ]
        batch_id = new_id(PREFIX)
        await self._database.write(batches.add, batch_id, works, body.callback_url, arrival)
        return batch_id

    async def cancel(self, batch_id: str) -> Batch:
        """Stop what has not ended; what has stays. Raises letta.errors.NotFound."""
        going = await self._database.write(batches.cancel, batch_id)
        if going:
            await self._runner.cancel(going)
        return await self._database.read(batches.get, batch_id)


def _stored(request: BatchRequest) -> dict[str, object]:
    return request.model_dump(mode="json", exclude_unset=True, exclude={"agent_id", "callback_url", "streaming"})
