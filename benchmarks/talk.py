"""The conversations that are measured: the same texts for the floor and for the server."""

WINDOW_TOKENS = 200
"""Tokens of each message, at four characters a token."""
SYSTEM = "You are a helpful agent with a long memory. Answer shortly and kindly, and remember what matters. " * 10
QUESTION = "Tell me in a few words what we talked about, and what we should do next."

_SENTENCES = (
    "We looked at the plan for the garden and moved the apple trees further away from the house. ",
    "The train leaves at a quarter past seven, so the taxi should be there half an hour before that. ",
    "Remember that the report needs the numbers of the second quarter and a chart on its last page. ",
    "I asked the neighbours about the noise, and they will move the machine into the old barn. ",
    "It would be good to read the contract again before we talk to them on Thursday afternoon. ",
)


def said(number: int) -> str:
    """The text of message `number`: never the same twice, and always `WINDOW_TOKENS` long."""
    start = number % len(_SENTENCES)
    text = f"Note {number}. " + "".join(_SENTENCES[(start + step) % len(_SENTENCES)] for step in range(10))
    return text[: WINDOW_TOKENS * 4]


def length(tokens: int) -> int:
    """How many messages hold about `tokens`."""
    return max(2, tokens // WINDOW_TOKENS // 2 * 2)


def model(*, tokens: int, latency_ms: int = 0, gap_ms: int = 0) -> str:
    """The model of the fake provider that answers with `tokens` pieces.

    It waits `latency_ms` before the first one and `gap_ms` between two; without a gap they are sent all at once.
    """
    return f"bench-{tokens}-{latency_ms}-{gap_ms}"
