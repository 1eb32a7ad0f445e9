"""Searching what was said and what was kept: words and meaning together, fast, and by words alone where it must be.

Makes the query's vector while the database looks for its words. Knows no HTTP and no tool.
"""

import asyncio
import logging
import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, time
from typing import TYPE_CHECKING, TypeVar
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from letta.errors import InvalidValue, LettaError
from letta.models.embeddings import Embeddings
from letta.store import comparing, search
from letta.store.access import Database
from letta.store.query import now
from letta.store.search import Found, Looked, Wanted
from letta.store.vectors import Vector

if TYPE_CHECKING:
    from letta.store.matrices import Matrices

T = TypeVar("T")
log = logging.getLogger(__name__)

_KEPT_OWNERS = 1_024
_DATE_ONLY = re.compile(r"\d{4}-\d{2}-\d{2}")


class Recall:
    """Finds messages and passages. Safe for any number of tasks at once."""

    def __init__(self, database: Database, embeddings: Embeddings) -> None:
        self._database = database
        self._embeddings = embeddings
        self._matrices: Matrices | None = None
        self._local: OrderedDict[tuple[str, tuple[str, ...] | None], None] = OrderedDict()

    async def find(self, wanted: Wanted, read: Callable[[Connection, Sequence[str]], T]) -> tuple[Found, T]:
        """What fits best, best first, the newest for an empty query; and what `read` makes of the ids of the hits.

        Where there is no vector to compare with (no embedding model, or one that does not answer) the words decide,
        and the answer's `mode` says so.

        Raises:
            letta.errors.NotFound: the conversation to search in does not exist.
        """
        expected = self._expected(wanted)
        # The vector takes longer.
        queries, looked = await asyncio.gather(
            self._vectors(expected, wanted.query), self._database.read(search.look, wanted)
        )
        handles = frozenset(owner.model for owner in looked.owners)
        queries |= await self._vectors(handles - expected, wanted.query)
        self._note(wanted, handles)
        return await self._database.read(self._finish, wanted, looked, queries, read)

    def _finish(
        self,
        connection: Connection,
        wanted: Wanted,
        looked: Looked,
        queries: dict[str, Vector],
        read: Callable[[Connection, Sequence[str]], T],
    ) -> tuple[Found, T]:
        if queries and self._matrices is None:
            self._matrices = comparing.matrices()
        found = search.finish(connection, self._matrices, wanted, looked, queries, now())
        return found, read(connection, [hit.item_id for hit in found.hits])

    def _expected(self, wanted: Wanted) -> frozenset[str]:
        """The local model, where these owners had it at their last search: used while the words are looked for.

        If they have another one by now, little was done in vain. A provider is never told what is not meant for it.
        """
        local = self._embeddings.local_handle
        by_words = not wanted.query.strip() or wanted.mode == "fts"
        if local is None or by_words or (wanted.kind, wanted.owners) not in self._local:
            return frozenset()
        return frozenset({local})

    def _note(self, wanted: Wanted, handles: frozenset[str]) -> None:
        """Note whether these owners have the local model."""
        key = (wanted.kind, wanted.owners)
        if self._embeddings.local_handle in handles:
            self._local[key] = None
            self._local.move_to_end(key)
            if len(self._local) > _KEPT_OWNERS:
                self._local.popitem(last=False)
        elif handles:
            self._local.pop(key, None)

    async def _vectors(self, handles: Iterable[str], query: str) -> dict[str, Vector]:
        """The query's vector by model, for the models that answer."""
        made = await asyncio.gather(*(self._vector(handle, query) for handle in handles))
        return {handle: vector for handle, vector in made if vector is not None}

    async def _vector(self, handle: str, query: str) -> "tuple[str, Vector | None]":
        try:
            return handle, await self._embeddings.query(handle, query)
        except (LettaError, TimeoutError) as error:
            # A search is never refused for want of a vector: words are there.
            log.warning("searching by words only, %s does not answer: %s", handle, error or "too slow")
            return handle, None


def moment(text: str | None, zone: ZoneInfo, name: str, *, end_of_day: bool) -> datetime | None:
    """An ISO 8601 time, in `zone` where it names none. A date alone means its first moment, or its last for an end.

    Raises:
        letta.errors.InvalidValue: when the text is neither; the message names the field.
    """
    if not text or not text.strip():
        return None
    given = text.strip()
    try:
        if _DATE_ONLY.fullmatch(given):
            day = datetime.fromisoformat(given).date()
            return datetime.combine(day, time.max if end_of_day else time.min, zone).astimezone(UTC)
        parsed = datetime.fromisoformat(given)
        return (parsed.replace(tzinfo=zone) if parsed.tzinfo is None else parsed).astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidValue(
            f"{name} {text!r} is not an ISO 8601 date or time such as 2026-01-31 or 2026-01-31T15:30"
        ) from None
