"""The order of what words and vectors found: one number from both, from the turns around, and from who said it.

Pure arithmetic on a few hundred candidates. The shares below were chosen on the evaluation in `benchmarks/retrieval`
and hold for conversations and for documents alike.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from letta.store import words

MEANING = 0.5
"""Share of the cosine in the score of a piece; the rest is the words', as far as the query's words were found."""
NEIGHBOURS = 0.35
"""Share of the better turn right before or after; half of it for the one next to that."""
SPEAKER = 0.1
"""Added when the query names who said it."""
RECENCY = 0.02
"""Added for what was said just now; halves with every `RECENCY_HALVES`."""
RECENCY_HALVES = timedelta(days=30)

_COVERING = 10
_HALVES = RECENCY_HALVES / timedelta(microseconds=1)


@dataclass(slots=True)
class Candidate:
    """A piece that may be what was looked for. `words` and `cosine` are None where it was not found that way.

    `created_at` is in microseconds since 1970, as it is stored.
    """

    piece_id: int
    item_id: str
    owner: str
    number: int
    thread: str
    position: int
    role: str | None
    speaker: str | None
    text: str
    created_at: int
    words: float | None = None
    cosine: float | None = None
    score: float = 0.0


class Hit(NamedTuple):
    """A message or passage found. `score` is between 0 and 1; `text` is its best piece.

    `word_rank` and `vector_rank` are its places by words and by meaning alone, from 1; None where not found that way.
    """

    item_id: str
    owner: str
    score: float
    text: str
    word_rank: int | None
    vector_rank: int | None


class Scale(NamedTuple):
    """What the numbers of a search mean.

    `lowest` is the cosine that counts as no likeness. `coverage` is the share of the query's words that the best text
    holds: where nothing holds more than a word or two of the query, words say little.
    """

    lowest: float
    coverage: float


def scale(candidates: Sequence[Candidate], query: str, lowest: float) -> Scale:
    """The scale of a search, from what its words found."""
    found = sorted((one for one in candidates if one.words is not None), key=lambda one: -(one.words or 0.0))
    texts = (f"{one.text} {one.speaker or one.role or ''}" for one in found[:_COVERING])
    return Scale(lowest, words.coverage(query, texts))


def rank(
    candidates: Sequence[Candidate],
    query: str,
    scale: Scale,
    *,
    is_talk: bool,
    extras: bool,
    present: datetime,
    limit: int,
) -> list[Hit]:
    """The `limit` best candidates as items, best first.

    `is_talk`: positions are turns of a conversation. Without `extras` only words and cosines count.
    """
    _score(candidates, scale)
    items = _items(candidates)
    scores = {item_id: candidate.score for item_id, candidate in items.items()}
    top = 1.0
    if extras and is_talk:
        top += NEIGHBOURS * 1.5 + SPEAKER + RECENCY
        _add_extras(scores, items, query, present)
    order = sorted(items.values(), key=lambda found: (-scores[found.item_id], -found.created_at))
    by_words, by_meaning = _places(candidates, "words"), _places(candidates, "cosine")
    return [
        Hit(
            found.item_id,
            found.owner,
            round(min(1.0, max(0.0, scores[found.item_id] / top)), 6),
            found.text,
            by_words.get(found.item_id),
            by_meaning.get(found.item_id),
        )
        for found in order[:limit]
    ]


def _add_extras(scores: dict[str, float], items: Mapping[str, Candidate], query: str, present: datetime) -> None:
    """Count who said it, when, and what was said around it."""
    named = set(words.cut(query))
    moment = int(present.timestamp() * 1_000_000)
    turns: dict[str, dict[int, float]] = {}
    for found in items.values():
        turns.setdefault(found.thread, {})[found.position] = found.score
    tellers = {found.speaker or found.role or "" for found in items.values()}
    named_tellers = {name for name in tellers if named.intersection(words.cut(name))}
    for item_id, found in items.items():
        age = min(60.0, max(0, moment - found.created_at) / _HALVES)
        scores[item_id] += _around(found.position, turns[found.thread]) + RECENCY * math.exp2(-age)
        if (found.speaker or found.role) in named_tellers:
            scores[item_id] += SPEAKER


def best(candidates: Sequence[Candidate], scale: Scale) -> list[Candidate]:
    """The candidates by words and cosine alone, best first."""
    _score(candidates, scale)
    return sorted(candidates, key=lambda found: -found.score)


def _score(candidates: Sequence[Candidate], scale: Scale) -> None:
    most = max((found.words for found in candidates if found.words is not None), default=0.0)
    highest = max((found.cosine for found in candidates if found.cosine is not None), default=None)
    span = max(1e-6, highest - scale.lowest) if highest is not None else None
    share = (1 - MEANING) * scale.coverage
    for found in candidates:
        by_words = (found.words or 0.0) / most if most > 0 else 0.0
        if span is None or found.cosine is None:
            # Without a vector, or still waiting for it, the words stand for the meaning, too.
            found.score = by_words
        else:
            likeness = max(0.0, found.cosine - scale.lowest) / span
            found.score = (MEANING * likeness + share * by_words) / (MEANING + share)


def _items(candidates: Sequence[Candidate]) -> dict[str, Candidate]:
    """The best piece of each item."""
    best: dict[str, Candidate] = {}
    for found in candidates:
        known = best.get(found.item_id)
        if known is None or found.score > known.score:
            best[found.item_id] = found
    return best


def _around(position: int, turns: Mapping[int, float]) -> float:
    known = turns.get
    near = max(known(position - 1, 0.0), known(position + 1, 0.0))
    far = max(known(position - 2, 0.0), known(position + 2, 0.0))
    return NEIGHBOURS * (near + far / 2)


def _places(candidates: Sequence[Candidate], name: str) -> dict[str, int]:
    """Items in the order of one of the two numbers: their places, from 1."""
    found = [(getattr(candidate, name), candidate.item_id) for candidate in candidates]
    ordered = sorted(((value, item) for value, item in found if value is not None), key=lambda pair: -pair[0])
    return {item: place for place, item in enumerate(dict.fromkeys(item for _, item in ordered), start=1)}
