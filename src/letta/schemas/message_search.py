"""Searching messages: what is asked, and the two shapes of the answer. Knows nothing of how it is found."""

from typing import Any, ClassVar, Literal

from pydantic import Field

from letta.schemas.common import Body, JsonObject, Timestamp, Wire
from letta.schemas.passages import SearchMode

SearchedRole = Literal["user", "assistant", "system", "tool", "function", "approval", "summary"]


class MessageSearch(Body):
    """A search in the messages of one agent or of all; for an empty query the newest that pass the filters.

    Times are ISO 8601; without a zone they are in the agent's timezone, or UTC. A date alone as the end includes that
    whole day.
    """

    never_null: ClassVar[frozenset[str]] = frozenset({"query", "search_mode", "limit"})

    query: str = ""
    agent_id: str | None = None
    conversation_id: str | None = None
    roles: list[SearchedRole] | None = None
    search_mode: SearchMode = "hybrid"
    start_date: str | None = None
    end_date: str | None = None
    limit: int = Field(default=50, ge=1, le=100)
    project_id: str | None = None
    template_id: str | None = None


class FoundMessage(Wire):
    """A message found, in the newer form. `content` is text, or the parts a person sent."""

    message_type: Literal["system_message", "user_message", "assistant_message"]
    content: str | list[JsonObject]
    message_id: str
    agent_id: str | None
    conversation_id: str | None
    created_at: Timestamp
    score: float


class MessageSearchResult(Wire):
    """A message found, in the older form. `rrf_score` keeps its old name; it is between 0 and 1."""

    embedded_text: str
    message: dict[str, Any]
    fts_rank: int | None = None
    vector_rank: int | None = None
    rrf_score: float
