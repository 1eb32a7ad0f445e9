"""The archive of an agent: texts it can search for. Knows nothing of messages or blocks."""

from typing import Any

from openharness.types import ArchiveEntry
from openharness_letta.connection import Connection, url_path
from openharness_letta.errors import about


async def search_archive(
    connection: Connection, agent_id: str, query: str, limit: int, tags: list[str] | None
) -> list[ArchiveEntry]:
    """The entries nearest to a query."""
    asked: dict[str, Any] = {"query": query, "top_k": limit} | ({"tags": tags} if tags else {})
    with about("Agent", agent_id):
        answer = await connection.get(url_path("agents", agent_id, "archival-memory", "search"), **asked)
    return [_entry(found, text=found["content"], written=found["timestamp"]) for found in answer["results"]]


async def add_to_archive(connection: Connection, agent_id: str, content: str, tags: list[str] | None) -> ArchiveEntry:
    """Put a text into the archive."""
    body: dict[str, Any] = {"text": content} | ({"tags": tags} if tags else {})
    with about("Agent", agent_id):
        made = await connection.send("post", url_path("agents", agent_id, "archival-memory"), body)
    return _entry(made[0], text=made[0]["text"], written=made[0]["created_at"])


def _entry(found: dict[str, Any], *, text: str, written: str) -> ArchiveEntry:
    metadata = {**(found.get("metadata") or {}), "tags": found.get("tags") or []}
    return ArchiveEntry.model_validate(
        {"id": found.get("id") or "", "content": text, "metadata": metadata, "created_at": written}
    )
