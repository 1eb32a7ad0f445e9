"""The work list of the embedder: pieces marked as `wanted` by a model. Survives restarts, and replicas share it."""

from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import NamedTuple

from sqlalchemy import Connection, select, update

from letta.store import vectors
from letta.store.query import now
from letta.store.tables import pieces
from letta.store.vectors import Vector

CLAIM = timedelta(minutes=2)
"""How long pieces stay with the process that took them."""


class Job(NamedTuple):
    """A piece to be read by a model."""

    piece_id: int
    owner: str
    model: str
    text: str


def take(connection: Connection, limit: int, resting: Collection[str] = ()) -> list[Job]:
    """Pieces of one model for this process, but of none in `resting`.

    First pieces come before later ones, so that one very long text does not keep the others waiting.
    """
    moment = now()
    waiting = select(pieces.c.id, pieces.c.owner, pieces.c.wanted, pieces.c.text).where(pieces.c.wanted.is_not(None))
    if resting:
        waiting = waiting.where(pieces.c.wanted.not_in(resting))
    if connection.dialect.name == "postgresql":
        free = pieces.c.claimed_until.is_(None) | (pieces.c.claimed_until < moment)
        waiting = waiting.where(free).with_for_update(skip_locked=True)
    found = connection.execute(waiting.order_by(pieces.c.number, pieces.c.id).limit(limit)).all()
    jobs = [Job(*row) for row in found if row.wanted == found[0].wanted]
    if jobs and connection.dialect.name == "postgresql":
        taken = update(pieces).where(pieces.c.id.in_([job.piece_id for job in jobs]))
        connection.execute(taken.values(claimed_until=moment + CLAIM))
    return jobs


def finish(connection: Connection, jobs: Sequence[Job], made: Sequence[Vector]) -> None:
    """Keep the vectors of jobs, in the same order; a piece that by now wants another model goes on waiting."""
    if not jobs:
        return
    still = _still_wanted(connection, jobs)
    kept = [(job.piece_id, job.owner, vector) for job, vector in zip(jobs, made, strict=True) if job.piece_id in still]
    vectors.add(connection, jobs[0].model, kept)
    done = update(pieces).where(pieces.c.id.in_(still))
    connection.execute(done.values(wanted=None, claimed_until=None, failure=None))


def give_up(connection: Connection, jobs: Sequence[Job], failure: str) -> None:
    """Do not try these again: the model refuses them. They stay searchable by their words."""
    done = update(pieces).where(pieces.c.id.in_(_still_wanted(connection, jobs)))
    connection.execute(done.values(wanted=None, claimed_until=None, failure=failure))


def release(connection: Connection, jobs: Sequence[Job]) -> None:
    """Put jobs back."""
    connection.execute(update(pieces).where(pieces.c.id.in_([job.piece_id for job in jobs])).values(claimed_until=None))


def _still_wanted(connection: Connection, jobs: Sequence[Job]) -> set[int]:
    mine = pieces.c.id.in_([job.piece_id for job in jobs])
    query = select(pieces.c.id).where(mine, pieces.c.wanted == jobs[0].model)
    return set(connection.execute(query.with_for_update()).scalars())
