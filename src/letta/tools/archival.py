"""The tool an agent keeps things for later with. It runs inside the step's transaction."""

from collections.abc import Sequence

from letta.errors import ToolFailed
from letta.memory import archival
from letta.schemas.passages import CreatePassage
from letta.tools.context import ToolContext

RESULTS = 10
"""Passages a search of the archive gives unless it asks for another number."""
LONGEST = 40_000
"""Characters the tool takes at once, about 8,000 tokens: an agent that writes more should write several things."""


def archival_memory_insert(context: ToolContext, content: str, tags: Sequence[str] | None = None) -> str:
    if not content.strip():
        raise ToolFailed("content is empty: write what you want to keep.")
    if len(content) > LONGEST:
        raise ToolFailed(f"content has {len(content)} characters, the limit is {LONGEST}: keep it in several pieces.")
    if any(not isinstance(tag, str) for tag in tags or ()):
        raise ToolFailed("tags must be a list of texts.")
    request = CreatePassage(text=content, tags=list(tags) if tags is not None else None)
    [passage] = archival.keep(context.connection, context.agent_id, [request])
    return f"Kept in the archive as {passage.id}. It can be found from now on."
