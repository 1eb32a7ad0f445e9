"""Vectors in PostgreSQL's extension pgvector: any length, compared exactly, sent as binary arrays.

A query's vector is cast once per statement, in a subquery: written as text it would be parsed again for every row.
"""

from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import (
    ARRAY,
    REAL,
    ColumnElement,
    Connection,
    Engine,
    bindparam,
    cast,
    column,
    func,
    literal_column,
    select,
    text,
)

from letta.store.tables import pieces, vectors

_used: WeakKeyDictionary[Engine, bool] = WeakKeyDictionary()
_COLUMN = text(
    "SELECT 1 FROM pg_attribute WHERE attrelid = to_regclass('vectors') AND attname = 'embedding' AND NOT attisdropped"
)
_INSERT = text(
    "INSERT INTO vectors (piece_id, owner, model, embedding) VALUES (:piece_id, :owner, :model, CAST(:data AS vector))"
).bindparams(bindparam("data", type_=ARRAY(REAL)))


def is_used(connection: Connection) -> bool:
    """Whether this database keeps its vectors in pgvector's type: decided when it was migrated."""
    if connection.dialect.name != "postgresql":
        return False
    if connection.engine not in _used:
        _used[connection.engine] = connection.execute(_COLUMN).first() is not None
    return _used[connection.engine]


def add(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Insert rows whose `data` is a list of numbers."""
    connection.execute(_INSERT, rows)


def cosines(
    connection: Connection,
    model: str,
    query: Sequence[float],
    conditions: Sequence[ColumnElement[bool]],
    limit: int | None,
) -> list[tuple[int, float]]:
    """The pieces for which all conditions (on `pieces`) hold, with their cosine; the `limit` best, best first.

    Vectors of another length than the query's cannot be compared and are left out.
    """
    embedding: ColumnElement[Any] = literal_column("vectors.embedding")
    wanted = _as_vector(query)
    distance = embedding.op("<=>")(wanted)
    found = (
        select(vectors.c.piece_id, (1.0 - distance).label("cosine"))
        .join(pieces, pieces.c.id == vectors.c.piece_id)
        .where(vectors.c.model == model, func.vector_dims(embedding) == len(query), *conditions)
    )
    if limit is not None:
        found = found.order_by(column("cosine").desc()).limit(limit)
    return [(row[0], float(row[1])) for row in connection.execute(found)]


def _as_vector(query: Sequence[float]) -> Any:
    array = cast(bindparam(None, list(query), type_=ARRAY(REAL), unique=True), ARRAY(REAL))
    return select(array.op("::")(literal_column("vector"))).scalar_subquery()
