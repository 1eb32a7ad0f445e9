"""Finding messages and passages by their words, by meaning, or by both. Knows no embedding model: it is given vectors.

A search has two parts, each a read of the caller: `look` finds the query's words and who has vectors, `finish` compares
vectors and ranks what both found. Between the two the caller makes the query's vectors, or while the words are looked
for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Select,
    and_,
    bindparam,
    case,
    column,
    func,
    literal_column,
    select,
    table,
    text,
    type_coerce,
)

from letta.store import comparing, conversations, lineage, ranking, words
from letta.store.pieces import MESSAGE, PASSAGE, add_messages, owner_word, remove_owner, searchable_text
from letta.store.ranking import Candidate, Hit
from letta.store.tables import agent_archives, agents, archives, passage_tags, pieces, vector_owners
from letta.store.vectors import Owner, Vector

if TYPE_CHECKING:
    from letta.store.matrices import Matrices

__all__ = [
    "Candidate",
    "Found",
    "Hit",
    "Looked",
    "Mode",
    "Wanted",
    "finish",
    "forget_agent",
    "index",
    "look",
    "searchable_text",
]

Mode = Literal["vector", "fts", "hybrid"]
TagMatch = Literal["any", "all"]
LEAST_POOL = 40
"""Pieces taken from the full-text index, and as many by their vectors, before they are ranked together; or twice as
many as are wanted."""
_AROUND = 12

index = add_messages
forget_agent = remove_owner

_COLUMNS = (
    *(pieces.c[name] for name in ("id", "item_id", "owner", "number", "thread", "position", "role", "speaker", "text")),
    type_coerce(pieces.c.created_at, BigInteger),
)
_by_piece = select(*_COLUMNS).where(pieces.c.id.in_(bindparam("ids", expanding=True)))
_beside = select(*_COLUMNS).where(
    pieces.c.owner == bindparam("owner"),
    pieces.c.thread == bindparam("thread"),
    pieces.c.position.in_(bindparam("positions", expanding=True)),
)
_owners_of = {
    kind: select(
        owners.c.id, owners.c.embedding, *(func.coalesce(vector_owners.c[name], 0) for name in ("added", "removed"))
    )
    .join(vector_owners, vector_owners.c.owner == owners.c.id, isouter=True)
    .where(owners.c.embedding.is_not(None))
    for kind, owners in ((MESSAGE, agents), (PASSAGE, archives))
}
_these_owners_of = {
    kind: query.where(query.selected_columns.id.in_(bindparam("owners", expanding=True)))
    for kind, query in _owners_of.items()
}
_words_table = table("piece_words", column("rowid"))


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to look for. `owners` are agents (messages) or archives (passages); None means all there are.

    `after` and `before` are inclusive moments. `thread` is a conversation; what it shares with the one it was forked
    from belongs to it. Messages of the run `not_run` are left out by the caller, not here.
    """

    kind: str
    query: str
    owners: tuple[str, ...] | None = None
    mode: Mode = "hybrid"
    roles: tuple[str, ...] = ()
    thread: str | None = None
    after: datetime | None = None
    before: datetime | None = None
    tags: tuple[str, ...] = ()
    tag_match: TagMatch = "any"
    limit: int = 10

    @property
    def pool(self) -> int:
        """How many pieces are ranked."""
        return max(LEAST_POOL, 2 * self.limit)


class Looked(NamedTuple):
    """The pieces that hold words of the query, best first, and whose vectors it can be compared with."""

    words: list[Candidate]
    owners: list[Owner]


class _Meaning(NamedTuple):
    """What vectors found: the nearest pieces, and what else can be compared with the query."""

    found: list[Candidate]
    lowest: float
    comparison: comparing.Comparison


class Found(NamedTuple):
    """What a search found, best first, and how: `mode` differs from the wanted one where there are no vectors."""

    hits: list[Hit]
    mode: Mode


def look(connection: Connection, wanted: Wanted) -> Looked:
    """The first part of a search: the words of the query, or for an empty one the newest pieces."""
    words = _by_words(connection, wanted)
    if not wanted.query.strip() or wanted.mode == "fts":
        return Looked(words, [])
    if wanted.owners is None:
        found = connection.execute(_owners_of[wanted.kind])
    else:
        found = connection.execute(_these_owners_of[wanted.kind], {"owners": wanted.owners})
    return Looked(words, [Owner(*row) for row in found])


def finish(
    connection: Connection,
    matrices: "Matrices | None",
    wanted: Wanted,
    looked: Looked,
    queries: Mapping[str, Vector],
    present: datetime,
) -> Found:
    """The second part: compare the query's vectors (by model), rank what was found, and cut.

    Where there is nothing to compare the words decide, and the answer's `mode` says so. Without queries no `matrices`
    are needed.
    """
    if not wanted.query.strip():
        return Found([Hit(one.item_id, one.owner, 0.0, one.text, None, None) for one in looked.words], wanted.mode)
    meaning = (
        _by_meaning(connection, matrices, wanted, looked.owners, queries) if queries and matrices is not None else None
    )
    if meaning is None:
        words = _by_words(connection, replace(wanted, mode="fts")) if wanted.mode == "vector" else looked.words
        scale = ranking.scale(words, wanted.query, 0.0)
        return Found(_ranked(wanted, words, scale, present), "fts")
    scale = ranking.scale(looked.words, wanted.query, meaning.lowest)
    found = _joined(connection, looked.words, meaning)
    if wanted.kind == MESSAGE and wanted.mode == "hybrid":
        found += _neighbours(connection, found, _conditions(connection, wanted), meaning.comparison, scale)
    return Found(_ranked(wanted, found, scale, present), wanted.mode)


def _ranked(wanted: Wanted, found: list[Candidate], scale: ranking.Scale, present: datetime) -> list[Hit]:
    return ranking.rank(
        found,
        wanted.query,
        scale,
        is_talk=wanted.kind == MESSAGE,
        extras=wanted.mode == "hybrid",
        present=present,
        limit=wanted.limit,
    )


def archives_of(connection: Connection, agent_id: str) -> tuple[str, ...]:
    """The ids of the archives an agent reads."""
    query = select(agent_archives.c.archive_id).where(agent_archives.c.agent_id == agent_id)
    return tuple(connection.execute(query).scalars())


# -- words -------------------------------------------------------------------------------------------------------------


def _by_words(connection: Connection, wanted: Wanted) -> list[Candidate]:
    conditions = _conditions(connection, wanted)
    if not wanted.query.strip():
        newest = select(*_COLUMNS).where(pieces.c.kind == wanted.kind, pieces.c.number == 0, *conditions)
        if wanted.owners is not None:
            newest = newest.where(pieces.c.owner.in_(wanted.owners))
        newest = newest.order_by(pieces.c.created_at.desc(), pieces.c.id.desc()).limit(wanted.limit)
        return [Candidate(*row) for row in connection.execute(newest).all()]
    phrases = words.phrases(wanted.query)
    if not phrases or wanted.mode == "vector" or wanted.owners == ():
        return []
    if connection.dialect.name == "sqlite":
        return _by_words_sqlite(connection, wanted, phrases, conditions)
    return _by_words_postgres(connection, wanted, phrases, conditions)


def _by_words_sqlite(
    connection: Connection, wanted: Wanted, phrases: list[list[str]], conditions: list[ColumnElement[bool]]
) -> list[Candidate]:
    match = f"terms : ({words.fts5(phrases)})"
    if wanted.owners is not None:
        match = f"owner_word : ({' OR '.join(map(owner_word, wanted.owners))}) AND {match}"
    else:
        conditions = [pieces.c.kind == wanted.kind, *conditions]
    query = _with_words(conditions) if conditions else _with_any_words
    found = connection.execute(query, {"match": match, "pool": wanted.pool})
    return [Candidate(*row) for row in found.all()]


def _with_words(conditions: Sequence[ColumnElement[bool]]) -> Select[Any]:
    """The best pieces for the parameter `match`, as many as `pool`, with their worth."""
    # Who owns a piece is a word of its own that says nothing of its worth. Called like this and not as FTS5's `rank`,
    # which sorts all rows: SQLite keeps the best ones only.
    worth: ColumnElement[float] = literal_column("bm25(piece_words, 0.0, 1.0)")
    inner = select(_words_table.c.rowid, worth.label("worth")).where(text("piece_words MATCH :match"))
    if conditions:
        inner = inner.join(pieces, pieces.c.id == _words_table.c.rowid).where(*conditions)
    best = inner.order_by(text("worth")).limit(bindparam("pool")).subquery()
    query = select(*_COLUMNS, (-best.c.worth).label("words")).join(best, best.c.rowid == pieces.c.id)
    return query.order_by(best.c.worth)


_with_any_words = _with_words(())


def _by_words_postgres(
    connection: Connection, wanted: Wanted, phrases: list[list[str]], conditions: list[ColumnElement[bool]]
) -> list[Candidate]:
    indexed: ColumnElement[str] = literal_column("pieces.words")
    asked = func.to_tsquery("english", words.tsquery(phrases))
    worth = func.ts_rank_cd(indexed, asked, 1).label("words")
    query = select(*_COLUMNS, worth).where(pieces.c.kind == wanted.kind, indexed.op("@@")(asked), *conditions)
    if wanted.owners is not None:
        query = query.where(pieces.c.owner.in_(wanted.owners))
    query = query.order_by(worth.desc(), pieces.c.id.desc()).limit(wanted.pool)
    return [Candidate(*row) for row in connection.execute(query).all()]


# -- vectors -----------------------------------------------------------------------------------------------------------


def _by_meaning(
    connection: Connection,
    matrices: "Matrices",
    wanted: Wanted,
    owners: Sequence[Owner],
    queries: Mapping[str, Vector],
) -> _Meaning | None:
    """The pieces that are most like the query; None where no piece has a vector."""
    comparison = comparing.compare(connection, matrices, owners, queries)
    nearest = comparison.nearest(connection, _conditions(connection, wanted), wanted.pool)
    if not nearest:
        return None
    # Among few, the least alike may still be alike; the worst of many is not.
    lowest = min(nearest.values()) if len(nearest) == wanted.pool else 0.0
    found = [Candidate(*row) for row in connection.execute(_by_piece, {"ids": list(nearest)}).all()]
    for one in found:
        one.cosine = nearest[one.piece_id]
    return _Meaning(found, lowest, comparison)


def _joined(connection: Connection, words: list[Candidate], meaning: _Meaning) -> list[Candidate]:
    """What both found, each piece once, with its cosine."""
    by_words = {one.piece_id: one for one in words}
    new = []
    for one in meaning.found:
        known = by_words.pop(one.piece_id, None)
        if known is None:
            new.append(one)
        else:
            known.cosine = one.cosine
    cosines = meaning.comparison.of(connection, by_words)
    for one in by_words.values():
        one.cosine = cosines.get(one.piece_id)
    return words + new


def _neighbours(
    connection: Connection,
    found: Sequence[Candidate],
    conditions: Sequence[ColumnElement[bool]],
    comparison: comparing.Comparison,
    scale: ranking.Scale,
) -> list[Candidate]:
    """The turns around the best ones: an answer often shares no word with what was asked for."""
    known = {(one.thread, one.position) for one in found}
    around: dict[tuple[str, str], set[int]] = {}
    for one in ranking.best(found, scale)[:_AROUND]:
        beside = {one.position + step for step in (-2, -1, 1, 2) if (one.thread, one.position + step) not in known}
        around.setdefault((one.owner, one.thread), set()).update(beside)
    new = []
    for (owner, thread), positions in around.items():
        query = _beside.where(*conditions) if conditions else _beside
        given = {"owner": owner, "thread": thread, "positions": sorted(positions)}
        new += [Candidate(*row) for row in connection.execute(query, given).all()]
    cosines = comparison.of(connection, [one.piece_id for one in new])
    for one in new:
        one.cosine = cosines.get(one.piece_id)
    return new


# -- filters -----------------------------------------------------------------------------------------------------------


def _conditions(connection: Connection, wanted: Wanted) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if wanted.roles:
        conditions.append(pieces.c.role.in_(wanted.roles))
    if wanted.thread is not None:
        conditions.append(_in_thread(connection, wanted.thread))
    if wanted.after is not None:
        conditions.append(pieces.c.created_at >= wanted.after)
    if wanted.before is not None:
        conditions.append(pieces.c.created_at <= wanted.before)
    if wanted.tags:
        tagged = select(passage_tags.c.passage_id).where(passage_tags.c.tag.in_(wanted.tags))
        if wanted.tag_match == "all":
            tagged = tagged.group_by(passage_tags.c.passage_id).having(func.count() == len(set(wanted.tags)))
        conditions.append(pieces.c.item_id.in_(tagged))
    return conditions


def _in_thread(connection: Connection, thread: str) -> ColumnElement[bool]:
    """Belongs to the conversation, or to what it shares with those it was forked from."""
    line = lineage.segments(connection, conversations.thread(connection, thread))
    if len(line) == 1:
        return pieces.c.thread == thread
    ends = {segment.conversation_id: segment.last for segment in line}
    return and_(pieces.c.thread.in_(ends), pieces.c.position <= case(ends, value=pieces.c.thread))
