"""Words of texts and of queries, the way both databases index them. Knows nothing of tables.

Scripts that put no spaces between words are indexed character by character; a query's run of such characters is then
looked for as a phrase.
"""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache

# Han, kana, Thai, Lao, Myanmar and Khmer; Hangul has spaces, but endings that stick to its words.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
_UNSPACED_CHAR = re.compile(rf"[{_UNSPACED}\U00020000-\U0003134f]")
_WORD = re.compile(r"\w+", re.UNICODE)
_SAYS_NOTHING = """
a about above after again all am an and any are as at be because been before being but by can could did do does doing
down for from had has have having he her here hers him his how i if in into is it its just me more most my no nor not
now of off on once only or other our out over own s same she should so some such t than that the their them then there
these they this those through to too under until up very was we were what when where which while who whom why will with
would you your
"""
_STOP_WORDS = frozenset(_SAYS_NOTHING.split())
_MOST_WORDS = 64
_ENDINGS = ("ing", "ies", "ied", "ed", "es", "s", "e", "y")
_SHORTEST_STEM = 3


def terms(text: str, speaker: str | None = None, said_at: datetime | None = None) -> str:
    """What is indexed of a text: its words, and for a message who said it and when (UTC, in English)."""
    spaced = _UNSPACED_CHAR.sub(r" \g<0> ", text)
    moment = said_at.astimezone(UTC).strftime("%A %d %B %Y %Y-%m-%d") if said_at else ""
    return "\n".join(part for part in (spaced, f"{speaker or ''} {moment}".strip()) if part)


def phrases(query: str) -> list[list[str]]:
    """The distinct words of a query in order, each as the list of words it is indexed as (mostly one).

    English words that say nothing are left out unless there are no others.
    """
    found = list(dict.fromkeys(word.lower() for word in _WORD.findall(query)))
    telling = [word for word in found if word not in _STOP_WORDS] or found
    return [_UNSPACED_CHAR.sub(r" \g<0> ", word).split() for word in telling[:_MOST_WORDS]]


def fts5(wanted: list[list[str]]) -> str:
    """The phrases, any of them, in the language of SQLite's FTS5."""
    return " OR ".join('"' + " ".join(phrase) + '"' for phrase in wanted)


def tsquery(wanted: list[list[str]]) -> str:
    """The phrases, any of them, in the language of PostgreSQL's `to_tsquery`."""
    return " | ".join("(" + " <-> ".join(f"'{word}'" for word in phrase) + ")" for phrase in wanted)


def coverage(query: str, texts: Iterable[str]) -> float:
    """How much of the query the best of some texts holds: the share of its words, 0 to 1. Endings do not count."""
    wanted = phrases(query)
    if not wanted:
        return 0.0
    return max((_held(wanted, text.lower()) for text in texts), default=0.0) / len(wanted)


def _held(wanted: list[list[str]], text: str) -> int:
    stems = {_stem(word) for word in _WORD.findall(text)}
    return sum(_stem(one[0]) in stems if len(one) == 1 else "".join(one) in text for one in wanted)


@lru_cache(maxsize=50_000)
def _stem(word: str) -> str:
    """Roughly what the databases' stemmers leave of an English word."""
    ending = next((end for end in _ENDINGS if word.endswith(end) and len(word) - len(end) >= _SHORTEST_STEM), "")
    return word[: len(word) - len(ending)]
