"""Finding messages and passages by their words, by meaning, or by both. Knows no embedding model: it is given vectors.

A search has two halves, so that the query's vector can be made while the words are looked for: `by_words`, then
`finish`, which compares vectors and ranks. Both run in a read of the caller.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple

from sqlalchemy import (
    BooleanClauseList,
    ColumnElement,
    Connection,
    and_,
    column,
    func,
    literal_column,
    or_,
    select,
    table,
    text,
    tuple_,
)

from letta.errors import NotFound
from letta.store import comparing, ranking, words
from letta.store.pieces import MESSAGE, add_messages, owner_word, remove_owner, searchable_text
from letta.store.ranking import Candidate, Hit
from letta.store.tables import agent_archives, agents, archives, conversations, passage_tags, pieces
from letta.store.vectors import Matrices, Vector

__all__ = [
    "Candidate",
    "Found",
    "Hit",
    "Mode",
    "Wanted",
    "by_words",
    "finish",
    "forget_agent",
    "index",
    "models",
    "searchable_text",
]

Mode = Literal["vector", "fts", "hybrid"]
TagMatch = Literal["any", "all"]
WORD_HITS = 200
"""Pieces taken from the full-text index, and as many by their vectors, before they are ranked together."""
_AROUND = 24

index = add_messages
forget_agent = remove_owner

_COLUMNS = tuple(
    pieces.c[name]
    for name in ("id", "item_id", "owner", "number", "thread", "position", "role", "speaker", "text", "created_at")
)
_words_table = table("piece_words", column("rowid"), column("rank"))


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


class Found(NamedTuple):
    """What a search found, best first, and how: `mode` differs from the wanted one where there are no vectors."""

    hits: list[Hit]
    mode: Mode
