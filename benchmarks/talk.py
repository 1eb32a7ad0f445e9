"""The conversations that are measured: the same texts for the floor and for the server."""

from random import Random

WINDOW_TOKENS = 200
"""Tokens of each message, at four characters a token."""
SYSTEM = "You are a helpful agent with a long memory. Answer shortly and kindly, and remember what matters. " * 10
QUESTION = "Tell me in a few words what we talked about, and what we should do next."

_SYLLABLES = (
    "ba",
    "co",
    "den",
    "far",
    "gil",
    "hom",
    "ix",
    "jun",
    "ka",
    "lor",
    "men",
    "nu",
    "os",
    "pry",
    "ri",
    "sta",
    "tun",
    "ve",
)
_WORDS = [first + second for first in _SYLLABLES for second in (*_SYLLABLES, "")]


def said(number: int) -> str:
    """The text of message `number`: the same in every run, about as hard to compress as prose."""
    chosen = Random(number).choices(_WORDS, k=WINDOW_TOKENS)
    return f"Note {number}. {' '.join(chosen)}"[: WINDOW_TOKENS * 4]


def length(tokens: int) -> int:
    """How many messages hold about `tokens`."""
    return max(2, tokens // WINDOW_TOKENS // 2 * 2)


def model(*, tokens: int, latency_ms: int = 0, gap_ms: int = 0) -> str:
    """The model of the fake provider that answers with `tokens` pieces.

    It waits `latency_ms` before the first one and `gap_ms` between two; without a gap they are sent all at once.
    """
    return f"bench-{tokens}-{latency_ms}-{gap_ms}"
