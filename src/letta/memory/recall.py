"""Searching what was said and what was kept: words and meaning together, fast, and by words alone where it must be.

Makes the query's vector, and compares it, while the database looks for its words. Knows no HTTP and no tool.
"""

import asyncio
import logging
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, time
from typing import TYPE_CHECKING, TypeVar
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from letta.errors import InvalidValue, LettaError
from letta.models.embeddings import Embeddings
from letta.store import comparing, search
from letta.store.access import Database
from letta.store.query import now
from letta.store.search import Candidate, Found, Meaning, Wanted
from letta.store.vectors import Vector

if TYPE_CHECKING:
    from letta.store.matrices import Matrices

T = TypeVar("T")
log = logging.getLogger(__name__)

_DATE_ONLY = re.compile(r"\d{4}-\d{2}-\d{2}")


class Recall:
    """Finds messages and passages. Safe for any number of tasks at once."""

    def __init__(self, database: Database, embeddings: Embeddings) -> None:
        self._database = database
        self._embeddings = embeddings
        self._matrices: Matrices | None = None

    async def find(self, wanted: Wanted, read: Callable[[Connection, Sequence[str]], T]) -> tuple[Found, T]:
        """What fits best, best first, the newest for an empty query; and what `read` makes of the ids of the hits.

        Where there is no vector to compare with (no embedding model, or one that does not answer) the words decide,
        and the answer's `mode` says so.

        Raises:
            letta.errors.NotFound: the conversation to search in does not exist.
        """
        if not wanted.query.strip() or wanted.mode == "fts":
            return await self._database.read(_by_words, wanted, read)
        models = await self._database.read(search.models, wanted)
        meaning, words = await asyncio.gather(
            self._by_meaning(wanted, models), self._database.read(search.by_words, wanted)
        )
        if meaning is None and wanted.mode == "vector":
            return await self._database.read(_by_words, replace(wanted, mode="fts"), read)
        return await self._database.read(_finish, wanted, words, meaning, read)

    async def _by_meaning(self, wanted: Wanted, models: dict[str, str]) -> Meaning | None:
        """What is most like the query, by the model of each owner; None where there is no vector to compare."""
        queries = await self._vectors(set(models.values()), wanted.query)
        if not queries:
            return None
        self._matrices = self._matrices or comparing.matrices()
        return await self._database.read(search.by_meaning, self._matrices, wanted, models, queries)

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


def _by_words(
    connection: Connection, wanted: Wanted, read: Callable[[Connection, Sequence[str]], T]
) -> tuple[Found, T]:
    return _finish(connection, wanted, search.by_words(connection, wanted), None, read)


def _finish(
    connection: Connection,
    wanted: Wanted,
    words: list[Candidate],
    meaning: Meaning | None,
    read: Callable[[Connection, Sequence[str]], T],
) -> tuple[Found, T]:
    found = search.finish(connection, wanted, words, meaning, now())
    return found, read(connection, [hit.item_id for hit in found.hits])


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
