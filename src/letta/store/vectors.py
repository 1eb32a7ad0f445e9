"""Vectors of pieces as rows: written once, never changed. Knows neither models nor queries.

They are kept as float32 bytes and compared in memory (`letta.store.matrices`); or at their true length in PostgreSQL's
own type, and compared there (`letta.store.pgvector`). Two counters per owner tell every process when its matrix is old.
Vectors have length 1, so that their product is the cosine of their angle.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from sqlalchemy import Connection, Select, delete, insert, select
from sqlalchemy.dialects import postgresql, sqlite

from letta.store import pgvector
from letta.store.tables import pieces, vector_owners, vectors

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Vector: TypeAlias = "NDArray[np.float32]"


class Owner(NamedTuple):
    """Whose vectors they are, of which model, and the counters at some moment."""

    id: str
    model: str
    added: int = 0
    removed: int = 0


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
    return vector.astype("<f4").tobytes()


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
