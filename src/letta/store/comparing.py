"""A query's vector against stored ones: in a matrix kept by this process, or by PostgreSQL. Knows no words."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import numpy as np
from sqlalchemy import ColumnElement, Connection, select

from letta.store import pgvector
from letta.store.tables import pieces
from letta.store.vectors import Matrices, Vector

Conditions = Sequence[ColumnElement[bool]]


class Comparison(Protocol):
    """The cosines of one query with the vectors of some owners."""

    def nearest(self, conditions: Conditions, limit: int) -> dict[int, float]:
        """The best pieces for which all conditions (on `pieces`) hold, best first."""
        ...

    def of(self, piece_ids: Iterable[int]) -> dict[int, float]:
        """The cosines of these pieces, as far as they have a vector."""
        ...


def compare(
    connection: Connection, matrices: Matrices, models: Mapping[str, str], queries: Mapping[str, Vector]
) -> Comparison:
    """Compare the query (by model, as each model has vectors of its own) with each owner's vectors of its model."""
    if pgvector.is_used(connection):
        return _InDatabase(connection, models, queries)
    return _InMemory(connection, matrices, models, queries)


class _InMemory:
    def __init__(
        self, connection: Connection, matrices: Matrices, models: Mapping[str, str], queries: Mapping[str, Vector]
    ) -> None:
        self._connection = connection
        self._parts = [
            matrices.scores(connection, owner, model, queries[model])
            for owner, model in models.items()
            if model in queries
        ]

    def nearest(self, conditions: Conditions, limit: int) -> dict[int, float]:
        ids = np.concatenate([np.empty(0, np.int64), *(part.pieces for part in self._parts)])
        cosines = np.concatenate([np.empty(0, np.float32), *(part.cosines for part in self._parts)])
        if conditions:
            allowed = self._connection.execute(select(pieces.c.id).where(*conditions)).scalars().all()
            kept = np.isin(ids, np.array(allowed, np.int64))
            ids, cosines = ids[kept], cosines[kept]
        if len(ids) > limit:
            best = np.argpartition(-cosines, limit)[:limit]
            ids, cosines = ids[best], cosines[best]
        order = np.argsort(-cosines, kind="stable")
        return dict(zip(ids[order].tolist(), cosines[order].tolist(), strict=True))

    def of(self, piece_ids: Iterable[int]) -> dict[int, float]:
        wanted, found = list(piece_ids), dict[int, float]()
        for part in self._parts:
            # A place behind the end was added after the comparison.
            places = ((piece, part.places.get(piece, len(part.cosines))) for piece in wanted)
            found.update({piece: float(part.cosines[at]) for piece, at in places if at < len(part.cosines)})
        return found


class _InDatabase:
    def __init__(self, connection: Connection, models: Mapping[str, str], queries: Mapping[str, Vector]) -> None:
        self._connection = connection
        self._queries = {model: query.tolist() for model, query in queries.items()}
        self._owners: dict[str, list[str]] = {}
        for owner, model in models.items():
            self._owners.setdefault(model, []).append(owner)

    def nearest(self, conditions: Conditions, limit: int) -> dict[int, float]:
        found = [pair for model in self._queries for pair in self._of_model(model, conditions, limit)]
        return dict(sorted(found, key=lambda pair: -pair[1])[:limit])

    def of(self, piece_ids: Iterable[int]) -> dict[int, float]:
        chosen = [pieces.c.id.in_(list(piece_ids))]
        return dict(pair for model in self._queries for pair in self._of_model(model, chosen, None))

    def _of_model(self, model: str, conditions: Conditions, limit: int | None) -> list[tuple[int, float]]:
        mine = pieces.c.owner.in_(self._owners.get(model, []))
        return pgvector.cosines(self._connection, model, self._queries[model], [mine, *conditions], limit)
