"""Vectors of pieces: written once, compared exactly. Knows neither models nor queries.

They are kept as float32 bytes and compared here, in one matrix per owner that stays in memory; or at their true length
in PostgreSQL's own type, and compared there (`letta.store.pgvector`). Two counters per owner tell every process when
its matrix is old. Vectors have length 1, so that their product is the cosine of their angle.
"""

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Select, delete, insert, select
from sqlalchemy.dialects import postgresql, sqlite

from letta.store import pgvector
from letta.store.tables import pieces, vector_owners, vectors

Vector = NDArray[np.float32]
_LITTLE = np.dtype("<f4")
CACHE_BYTES = 512 * 1024 * 1024
"""Memory that matrices may take in all; the least recently used one goes first."""


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

    def scores(self, connection: Connection, owner: str, model: str, query: Vector) -> Scores:
        """The cosine of the query with every vector the owner has from this model."""
        # One thread at a time: bringing a matrix up to date is not safe for two, and comparing takes a millisecond.
        with self._lock:
            matrix = self._current(connection, owner, model, len(query))
            return Scores(matrix.pieces[: matrix.count], matrix.rows[: matrix.count] @ query, matrix.places)

    def _current(self, connection: Connection, owner: str, model: str, size: int) -> _Matrix:
        key = (owner, model, size)
        added, removed = _counters(connection, owner)
        matrix = self._kept.get(key)
        if matrix is None or matrix.removed != removed:
            matrix = _Matrix(np.empty(0, np.int64), np.empty((0, size), np.float32), added=-1, removed=removed)
            self._kept[key] = matrix
        if matrix.added != added:
            _load(connection, matrix, owner, model, size)
            matrix.added = added
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


def _load(connection: Connection, matrix: _Matrix, owner: str, model: str, size: int) -> None:
    """Read the vectors added since the matrix was last read; those of another length cannot be compared."""
    query = select(vectors.c.id, vectors.c.piece_id, vectors.c.data)
    query = query.where(vectors.c.owner == owner, vectors.c.model == model, vectors.c.id > matrix.last)
    found = connection.execute(query.order_by(vectors.c.id)).all()
    if not found:
        return
    matrix.last = found[-1].id
    fitting = [row for row in found if row.data is not None and len(row.data) == size * _LITTLE.itemsize]
    if fitting:
        joined = np.frombuffer(b"".join(row.data for row in fitting), _LITTLE).reshape(len(fitting), size)
        matrix.append([row.piece_id for row in fitting], joined)


def _counters(connection: Connection, owner: str) -> tuple[int, int]:
    query = select(vector_owners.c.added, vector_owners.c.removed).where(vector_owners.c.owner == owner)
    row = connection.execute(query).first()
    return (0, 0) if row is None else (row.added, row.removed)


# -- writing -----------------------------------------------------------------------------------------------------------


def add(connection: Connection, model: str, made: Sequence[tuple[int, str, Vector]]) -> None:
    """Keep vectors: (piece id, owner, vector). One that the piece had before is replaced.

    Pieces that are gone by now are left out.
    """
    alive = select(pieces.c.id).where(pieces.c.id.in_([piece_id for piece_id, _, _ in made]))
    known = set(connection.execute(alive.with_for_update()).scalars())
    kept = [entry for entry in made if entry[0] in known]
    if not kept:
        return
    # The counters first: they hold the owners until the transaction ends, so that ids of vectors appear in order.
    for owner in sorted({owner for _, owner, _ in kept}):
        _count(connection, owner, "added")
    replaced = connection.execute(
        delete(vectors).where(vectors.c.piece_id.in_(known)).returning(vectors.c.owner)
    ).scalars()
    for owner in sorted(set(replaced)):
        _count(connection, owner, "removed")
    rows = [
        {"piece_id": piece_id, "owner": owner, "model": model, "data": _packed(vector)}
        for piece_id, owner, vector in kept
    ]
    if pgvector.is_used(connection):
        numbers = [vector.tolist() for *_, vector in kept]
        pgvector.add(connection, [{**row, "data": data} for row, data in zip(rows, numbers, strict=True)])
    else:
        connection.execute(insert(vectors), rows)


def note_removed(connection: Connection, owner: str) -> None:
    """Pieces of the owner were deleted, and their vectors with them."""
    _count(connection, owner, "removed")


def forget_owner(connection: Connection, owner: str) -> None:
    """The owner is gone with all its pieces."""
    connection.execute(delete(vector_owners).where(vector_owners.c.owner == owner))


def pieces_of(owner: str, model: str) -> Select[Any]:
    """The ids of an owner's pieces that have a vector of this model."""
    return select(vectors.c.piece_id).where(vectors.c.owner == owner, vectors.c.model == model)


def _packed(vector: Vector) -> bytes:
    return np.ascontiguousarray(vector, _LITTLE).tobytes()


def _count(connection: Connection, owner: str, name: str) -> None:
    start = {"owner": owner, "added": 0, "removed": 0, name: 1}
    if connection.dialect.name == "sqlite":
        lite = sqlite.insert(vector_owners).values(start)
        connection.execute(lite.on_conflict_do_update(index_elements=["owner"], set_={name: vector_owners.c[name] + 1}))
    else:
        postgres = postgresql.insert(vector_owners).values(start)
        connection.execute(
            postgres.on_conflict_do_update(constraint=vector_owners.primary_key, set_={name: vector_owners.c[name] + 1})
        )
