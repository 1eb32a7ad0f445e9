"""A query's vector against stored ones: in a matrix kept by this process, or by PostgreSQL. Knows no words."""

import importlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from sqlalchemy import ColumnElement, Connection

from letta.store import pgvector
from letta.store.tables import pieces
from letta.store.vectors import Owner, Vector

if TYPE_CHECKING:
    from letta.store.matrices import Matrices

Conditions = Sequence[ColumnElement[bool]]


class Comparison(Protocol):
    """The cosines of one query with the vectors of some owners. It outlives the connection it was made with."""

    def nearest(self, connection: Connection, conditions: Conditions, limit: int) -> dict[int, float]:
        """The best pieces for which all conditions (on `pieces`) hold, best first."""
        ...

    def of(self, connection: Connection, piece_ids: Iterable[int]) -> dict[int, float]:
        """The cosines of these pieces, as far as they have a vector."""
        ...


def matrices() -> "Matrices":
    """An empty cache of matrices; loads what it needs on first use, because many servers never compare a vector."""
    made: Matrices = importlib.import_module("letta.store.matrices").Matrices()
    return made


def compare(
    connection: Connection, kept: "Matrices", owners: Sequence[Owner], queries: Mapping[str, Vector]
) -> Comparison:
    """Compare the query (by model, as each model has vectors of its own) with each owner's vectors of its model."""
    if pgvector.is_used(connection):
        return _InDatabase(owners, queries)
    return kept.compare(connection, owners, queries)


class _InDatabase:
    def __init__(self, owners: Sequence[Owner], queries: Mapping[str, Vector]) -> None:
        self._queries = {model: query.tolist() for model, query in queries.items()}
        self._owners: dict[str, list[str]] = {}
        for owner in owners:
            self._owners.setdefault(owner.model, []).append(owner.id)

    def nearest(self, connection: Connection, conditions: Conditions, limit: int) -> dict[int, float]:
        found = [pair for model in self._queries for pair in self._of_model(connection, model, conditions, limit)]
        return dict(sorted(found, key=lambda pair: -pair[1])[:limit])

    def of(self, connection: Connection, piece_ids: Iterable[int]) -> dict[int, float]:
        chosen = [pieces.c.id.in_(list(piece_ids))]
        return dict(pair for model in self._queries for pair in self._of_model(connection, model, chosen, None))

    def _of_model(
        self, connection: Connection, model: str, conditions: Conditions, limit: int | None
    ) -> list[tuple[int, float]]:
        mine = pieces.c.owner.in_(self._owners.get(model, []))
        return pgvector.cosines(connection, model, self._queries[model], [mine, *conditions], limit)
