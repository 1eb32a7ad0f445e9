"""Passages: the pieces of text an archive or a file is made of. Knows nothing of embedding or ranking."""

from typing import ClassVar, Literal

from pydantic import Field

from letta.schemas.common import Body, JsonObject, Timestamp, Wire
from letta.schemas.llm_config import EmbeddingConfig

TagMatchMode = Literal["any", "all"]
SearchMode = Literal["vector", "fts", "hybrid"]
"""By meaning, by words, or both."""


class Passage(Wire):
    """A passage of an archive, or of a file (then `source_id` is its folder's id).

    `embedding` and `embedding_config` are required by clients and may be null.
    """

    id: str
    text: str
    embedding: list[float] | None = None
    embedding_config: EmbeddingConfig | None = None
    archive_id: str | None = None
    source_id: str | None = None
    file_id: str | None = None
    file_name: str | None = None
    tags: list[str] | None = None
    metadata: JsonObject | None = None
    is_deleted: bool | None = False
    created_at: Timestamp | None = None
    updated_at: Timestamp | None = None
    created_by_id: str | None = None
    last_updated_by_id: str | None = None


class CreatePassage(Body):
    """A passage to store; `created_at` may lie in the past."""

    text: str
    tags: list[str] | None = None
    metadata: JsonObject | None = None
    created_at: Timestamp | None = None


class CreatePassages(Body):
    """Passages to store together."""

    passages: list[CreatePassage]


class PassageSearch(Body):
    """A search in an archive or in an agent's archives; without a query the newest that pass the filters."""

    never_null: ClassVar[frozenset[str]] = frozenset({"limit", "tag_match_mode", "search_mode"})

    query: str | None = None
    agent_id: str | None = None
    archive_id: str | None = None
    tags: list[str] | None = None
    tag_match_mode: TagMatchMode = "any"
    start_date: str | None = None
    """ISO 8601 date or time; without a zone it is in the agent's timezone, or UTC."""
    end_date: str | None = None
    """As `start_date`; a date alone includes that whole day."""
    limit: int = Field(default=5, ge=1, le=100)
    search_mode: SearchMode = "hybrid"


class PassageSearchItem(Wire):
    """A passage found; a higher score is a better match."""

    passage: Passage
    score: float
    metadata: JsonObject | None = None


class ArchivalResult(Wire):
    """A passage found in an agent's archival memory; `timestamp` is ISO 8601 text."""

    id: str
    timestamp: str
    content: str
    tags: list[str] | None = Field(default_factory=list)


class ArchivalSearchResponse(Wire):
    """What a search in an agent's archival memory found, and how many that is."""

    results: list[ArchivalResult]
    count: int
