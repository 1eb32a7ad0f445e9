"""Finding tools by words in their names, tags and descriptions. Knows nothing of meaning: there are no vectors here."""

import re
from collections.abc import Sequence

from sqlalchemy import Connection

from letta.schemas.tools import Tool, ToolSearchResult
from letta.store import tools
from letta.store.tools import ToolFilter

_WORD = re.compile(r"[^\W_]+")
_NAME, _TAG, _DESCRIPTION = 1.0, 0.7, 0.4


def search(
    connection: Connection, query: str, *, tool_types: Sequence[str], tags: Sequence[str], limit: int
) -> list[ToolSearchResult]:
    """The tools that fit best, best first; without words in `query` the newest.

    `tags` asks for any of them. A score is between 0 and 1: how much of the query was found, and where.
    """
    # Every tool is looked at: there are hundreds of them at most, and ranking needs them all.
    known = tools.list_page(connection, ToolFilter(tool_types=tool_types), limit=None)
    tagged = [tool for tool in known if not tags or set(tags) & set(tool.tags or ())]
    words = _words(query)
    scored = [(score(tool, words), tool) for tool in tagged]
    # Sorting is stable, so tools that fit equally well stay newest first.
    found = sorted((pair for pair in scored if pair[0] > 0), key=lambda pair: -pair[0])[:limit]
    return [
        ToolSearchResult(tool=tool, combined_score=round(value, 4), fts_rank=rank if words else None)
        for rank, (value, tool) in enumerate(found, start=1)
    ]


def score(tool: Tool, words: Sequence[str]) -> float:
    """How well a tool fits lower-case words, or beginnings of words: the mean over them; 1 without words."""
    if not words:
        return 1.0
    places = (
        (_words(tool.name or ""), _NAME),
        (_words(" ".join(tool.tags or ())), _TAG),
        (_words(f"{tool.description or ''} {(tool.json_schema or {}).get('description') or ''}"), _DESCRIPTION),
    )
    return sum(_best(word, places) for word in words) / len(words)


def _best(word: str, places: Sequence[tuple[Sequence[str], float]]) -> float:
    return next((worth for texts, worth in places if any(text.startswith(word) for text in texts)), 0.0)


def _words(text: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(text)]
