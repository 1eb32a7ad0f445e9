"""Finding tools by words in their names, tags and descriptions. Knows nothing of meaning: there are no vectors here."""

import re
from collections.abc import Sequence

from sqlalchemy import Connection, select

from letta.schemas.tools import Tool, ToolSearchResult
from letta.store import tools
from letta.store.tables import tools as tool_rows
from letta.store.tools import ToolFilter

_WORD = re.compile(r"\w+")
_NAME, _TAG, _DESCRIPTION = 1.0, 0.7, 0.4


def search(
    connection: Connection, query: str, *, tool_types: Sequence[str], tags: Sequence[str], limit: int
) -> list[ToolSearchResult]:
    """The tools that fit best, best first; without words in `query` the newest.

    `tags` asks for any of them. A score is between 0 and 1: how much of the query was found, and where.
    """
    count = connection.execute(select(tool_rows.c.id)).all()
    # Every tool is looked at: there are hundreds of them at most, and ranking needs them all.
    known = tools.list_page(connection, ToolFilter(tool_types=tool_types), limit=len(count))
    tagged = [tool for tool in known if not tags or set(tags) & set(tool.tags or ())]
    words = [word.lower() for word in _WORD.findall(query)]
    scored = [(score(tool, words), tool) for tool in tagged]
    # Sorting is stable, so tools that fit equally well stay newest first.
    found = sorted((pair for pair in scored if pair[0] > 0), key=lambda pair: -pair[0])[:limit]
    return [
        ToolSearchResult(tool=tool, combined_score=round(value, 4), fts_rank=rank if words else None)
        for rank, (value, tool) in enumerate(found, start=1)
    ]


def score(tool: Tool, words: Sequence[str]) -> float:
    """How well a tool fits lower-case words: the mean over the words; 1 for all of them without words."""
    if not words:
        return 1.0
    name, tags, description = (tool.name or "").lower(), " ".join(tool.tags or ()).lower(), _about(tool)
    return sum(_place(word, name, tags, description) for word in words) / len(words)


def _about(tool: Tool) -> str:
    return f"{tool.description or ''} {(tool.json_schema or {}).get('description') or ''}".lower()


def _place(word: str, name: str, tags: str, description: str) -> float:
    if word in name:
        return _NAME
    if word in tags:
        return _TAG
    return _DESCRIPTION if word in description else 0.0
