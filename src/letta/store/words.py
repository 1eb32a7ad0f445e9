"""Words of texts and of queries: one tokenizer for what is indexed and for what is asked, whichever database is behind.

Both databases cut texts in ways of their own, so they are handed words that neither cuts differently. Scripts that put
no spaces between words are indexed character by character; a query's run of such characters is then looked for as a
phrase. Knows nothing of tables.
"""

import re
import unicodedata
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import cache, lru_cache

# Han, kana, Thai, Lao, Myanmar and Khmer; Hangul has spaces, but endings that stick to its words.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
    "\U00020000-\U0003134f"
)
# Accents and points of Latin, Greek, Cyrillic, Hebrew and Arabic, and signs that only shape what stands beside them.
# The marks of Indic scripts are not among them: they are vowels.
_SAYS_LITTLE = re.compile(
    "[\u00ad\u0300-\u036f\u0483-\u0489\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u0640\u064b-\u065f\u0670"
    "\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed\u08ca-\u08ff\u1ab0-\u1aff\u1dc0-\u1dff\u200b-\u200f\u2060\u20d0-\u20ff"
    "\u2de0-\u2dff\ua66f-\ua67d\ua69e\ua69f\ufb1e\ufe00-\ufe0f\ufe20-\ufe2f\ufeff\U0001f3fb-\U0001f3ff\U000e0020-\U000e01ef]"
)
_EMOJI = re.compile("[\U0001f1e6-\U0001f1ff]{2}|[\u2600-\u27bf\u2b00-\u2bff\U0001f000-\U0001faff]")
_ASCII_WORD = re.compile(r"[a-z0-9]+")
_SAYS_NOTHING = """
a about above after again all am an and any are as at be because been before being but by can could did do does doing
down for from had has have having he her here hers him his how i if in into is it its just me more most my no nor not
now of off on once only or other our out over own s same she should so some such t than that the their them then there
these they this those through to too under until up very was we were what when where which while who whom why will with
would you your
"""
_STOP_WORDS = frozenset(_SAYS_NOTHING.split())
_MOST_WORDS = 64
_LONGEST_PHRASE = 64
_LONGEST_WORD = 255
"""Characters of a word that count; PostgreSQL refuses words of more than 2,046 bytes."""
_ENDINGS = ("ing", "ies", "ied", "ed", "es", "s", "e", "y")
_SHORTEST_STEM = 3


def fold(text: str) -> str:
    """Without case and accents, in one spelling; an emoji becomes a word of its own."""
    if text.isascii():
        return text.lower()
    plain = _SAYS_LITTLE.sub("", unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold()))
    return _EMOJI.sub(_spelled, unicodedata.normalize("NFC", plain))


def cut(text: str) -> list[str]:
    """The words of a text, folded, in their order."""
    folded = fold(text)
    return (_ASCII_WORD if folded.isascii() else _patterns()[0]).findall(folded)


def terms(text: str, speaker: str | None = None, said_at: datetime | None = None) -> str:
    """What is indexed of a text: its words, and for a message who said it and when (UTC, in English)."""
    moment = said_at.astimezone(UTC).strftime("%A %d %B %Y %Y-%m-%d") if said_at else ""
    lines = (
        " ".join(part for word in cut(line) for part in _parts(word)) for line in (text, f"{speaker or ''} {moment}")
    )
    return "\n".join(line for line in lines if line)


def phrases(query: str) -> list[list[str]]:
    """The distinct words of a query in order, each as the list of words it is indexed as (mostly one).

    English words that say nothing are left out unless there are no others.
    """
    found = list(dict.fromkeys(cut(query)))
    telling = [word for word in found if word not in _STOP_WORDS] or found
    return [_parts(word)[:_LONGEST_PHRASE] for word in telling[:_MOST_WORDS]]


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
    return max((_held(wanted, text) for text in texts), default=0.0) / len(wanted)


def _held(wanted: list[list[str]], text: str) -> int:
    held = cut(text)
    stems = {_stem(word) for word in held}
    return sum(
        _stem(one[0]) in stems if len(one) == 1 else any("".join(one) in word for word in held) for one in wanted
    )


def _parts(word: str) -> list[str]:
    """A word as it is indexed: its characters, where it is of a script without spaces."""
    parts = [word] if word.isascii() else _patterns()[1].sub(r" \g<0> ", word).split()
    return [part[:_LONGEST_WORD] for part in parts]


def _spelled(emoji: re.Match[str]) -> str:
    return f" {''.join(f'u{ord(char):x}' for char in emoji[0])} "


@cache
def _patterns() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """A word, with the marks that belong to its letters, and a character of a script without spaces, with its marks."""
    marks = "".join(char for code in range(0x300, 0x1F000) if unicodedata.category(char := chr(code)).startswith("M"))
    return re.compile(rf"[^\W_](?:[^\W_]|[{marks}])*"), re.compile(rf"[{_UNSPACED}][{marks}]*")


@lru_cache(maxsize=50_000)
def _stem(word: str) -> str:
    """Roughly what the databases' stemmers leave of an English word."""
    ending = next((end for end in _ENDINGS if word.endswith(end) and len(word) - len(end) >= _SHORTEST_STEM), "")
    return word[: len(word) - len(ending)]
