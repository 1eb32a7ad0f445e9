"""Vectors in memory, one matrix per owner, compared exactly. Loaded when the first vectors are compared."""

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Connection, select

from letta.store.tables import pieces, vectors
from letta.store.vectors import Owner

Vector = NDArray[np.float32]
_LITTLE = np.dtype("<f4")
CACHE_BYTES = 512 * 1024 * 1024
"""Memory that matrices may take in all; the least recently used one goes first."""
_FIRST, _MOST_FIRST = 8, 10_000
"""Under conditions the best pieces are asked about first: so many times as many as are wanted, and never more."""
_MOST_OWNERS = 500


class Scores(NamedTuple):
    """Pieces by their ids, the cosine of each with the query, and at which place of the two a piece is."""

    pieces: NDArray[np.int64]
    cosines: Vector
    places: Mapping[int, int]


@dataclass(slots=True)
class _Matrix:
    """The vectors of one owner as rows; the first `count` of `rows` are filled, and never change again."""

    pieces: NDArray[np.int64]
    rows: Vector
    places: dict[int, int] = field(default_factory=dict)
    count: int = 0
    last: int = 0
    added: int = 0
    removed: int = 0

    def append(self, ids: Sequence[int], found: Vector) -> None:
        needed = self.count + len(ids)
        if needed > len(self.rows):
            size = max(needed, len(self.rows) * 3 // 2)
            self.pieces, self.rows = _grown(self.pieces, size), _grown(self.rows, size)
        self.pieces[self.count : needed] = ids
        self.rows[self.count : needed] = found
        self.places.update(zip(ids, range(self.count, needed), strict=True))
        self.count = needed


@dataclass(slots=True)
class Matrices:
    """The matrices of recently searched owners, shared by all threads of a process."""

    limit: int = CACHE_BYTES
    _kept: OrderedDict[tuple[str, str, int], _Matrix] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def scores(self, connection: Connection, owner: Owner, query: Vector) -> Scores:
        """The cosine of the query with every vector the owner has from its model."""
        # One thread at a time: bringing a matrix up to date is not safe for two, and comparing takes a millisecond.
        with self._lock:
            matrix = self._current(connection, owner, len(query))
            return Scores(matrix.pieces[: matrix.count], matrix.rows[: matrix.count] @ query, matrix.places)

    def compare(self, connection: Connection, owners: Iterable[Owner], queries: Mapping[str, Vector]) -> "InMemory":
        """The query (by model) against the vectors of owners."""
        compared = [owner for owner in owners if owner.model in queries]
        parts = [self.scores(connection, owner, queries[owner.model]) for owner in compared]
        return InMemory([owner.id for owner in compared], parts)

    def _current(self, connection: Connection, owner: Owner, size: int) -> _Matrix:
        key = (owner.id, owner.model, size)
        matrix = self._kept.get(key)
        # Whoever looked earlier may know less than what is kept.
        if matrix is None or matrix.removed < owner.removed:
            matrix = _Matrix(np.empty(0, np.int64), np.empty((0, size), np.float32), added=-1, removed=owner.removed)
            self._kept[key] = matrix
        if matrix.added < owner.added:
            _load(connection, matrix, owner, size)
            matrix.added = owner.added
        self._kept.move_to_end(key)
        self._shrink()
        return matrix

    def _shrink(self) -> None:
        held = sum(matrix.rows.nbytes for matrix in self._kept.values())
        while held > self.limit and len(self._kept) > 1:
            held -= self._kept.popitem(last=False)[1].rows.nbytes


def _grown(array: NDArray[Any], size: int) -> NDArray[Any]:
    grown = np.empty((size, *array.shape[1:]), array.dtype)
    grown[: len(array)] = array
    return grown


def _load(connection: Connection, matrix: _Matrix, owner: Owner, size: int) -> None:
    """Read the vectors added since the matrix was last read; those of another length cannot be compared."""
    query = select(vectors.c.id, vectors.c.piece_id, vectors.c.data)
    query = query.where(vectors.c.owner == owner.id, vectors.c.model == owner.model, vectors.c.id > matrix.last)
    found = connection.execute(query.order_by(vectors.c.id)).all()
    if not found:
        return
    matrix.last = found[-1].id
    fitting = [row for row in found if row.data is not None and len(row.data) == size * _LITTLE.itemsize]
    if fitting:
        joined = np.frombuffer(b"".join(row.data for row in fitting), _LITTLE).reshape(len(fitting), size)
        matrix.append([row.piece_id for row in fitting], joined)


class InMemory:
    """A letta.store.comparing.Comparison with vectors in memory."""

    def __init__(self, owners: Sequence[str], parts: Sequence[Scores]) -> None:
        self._owners = owners
        self._parts = parts

    def nearest(
        self, connection: Connection, conditions: Sequence[ColumnElement[bool]], limit: int
    ) -> dict[int, float]:
        """The best pieces for which all conditions hold, best first."""
        ids, cosines = self._all()
        if conditions:
            kept = self._allowed(connection, conditions, limit, ids, cosines)
            ids, cosines = ids[kept], cosines[kept]
        if len(ids) > limit:
            best = np.argpartition(-cosines, limit)[:limit]
            ids, cosines = ids[best], cosines[best]
        order = np.argsort(-cosines, kind="stable")
        return dict(zip(ids[order].tolist(), cosines[order].tolist(), strict=True))

    def _allowed(
        self,
        connection: Connection,
        conditions: Sequence[ColumnElement[bool]],
        limit: int,
        ids: NDArray[np.int64],
        cosines: Vector,
    ) -> NDArray[np.int64]:
        """The places of pieces for which all conditions hold: of `limit` of the best, or else of all."""
        first = min(_FIRST * limit, _MOST_FIRST)
        if first < len(ids):
            best = np.argpartition(-cosines, first)[:first]
            kept: NDArray[np.int64] = best[
                _held(connection, ids[best], pieces.c.id.in_(ids[best].tolist()), *conditions)
            ]
            if len(kept) >= limit:
                return kept
        # Names of owners are parameters, of which there can be so many only.
        theirs = [pieces.c.owner.in_(self._owners)] if len(self._owners) <= _MOST_OWNERS else []
        return np.flatnonzero(_held(connection, ids, *theirs, *conditions))

    def _all(self) -> tuple[NDArray[np.int64], Vector]:
        if len(self._parts) == 1:
            return self._parts[0].pieces, self._parts[0].cosines
        ids = np.concatenate([np.empty(0, np.int64), *(part.pieces for part in self._parts)])
        return ids, np.concatenate([np.empty(0, np.float32), *(part.cosines for part in self._parts)])

    def of(self, connection: Connection, piece_ids: Iterable[int]) -> dict[int, float]:
        """The cosines of these pieces, as far as they have a vector."""
        del connection  # they are in memory
        wanted, found = list(piece_ids), dict[int, float]()
        for part in self._parts:
            place_of, end = part.places.get, len(part.cosines)
            # A place behind the end was added after the comparison.
            places = {piece: at for piece in wanted if (at := place_of(piece, end)) < end}
            found.update(zip(places, part.cosines[list(places.values())].tolist(), strict=True))
        return found


def _held(connection: Connection, ids: NDArray[np.int64], *conditions: ColumnElement[bool]) -> NDArray[np.bool_]:
    """For each piece whether all conditions hold."""
    allowed = connection.execute(select(pieces.c.id).where(*conditions)).scalars().all()
    return np.isin(ids, np.array(allowed, np.int64))
