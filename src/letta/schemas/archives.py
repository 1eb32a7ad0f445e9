"""Archives: named stores of passages that agents can share. Knows nothing of search."""

from typing import ClassVar

from letta.schemas.common import Body, JsonObject, Patch, Timestamp, Wire
from letta.schemas.folders import VectorDBProvider
from letta.schemas.llm_config import EmbeddingConfig


class Archive(Wire):
    """An archive; without an embedding model it is searched by text only."""

    id: str
    name: str
    created_at: Timestamp
    description: str | None = None
    embedding_config: EmbeddingConfig | None = None
    vector_db_provider: VectorDBProvider | None = VectorDBProvider.NATIVE
    metadata: JsonObject | None = None
    updated_at: Timestamp | None = None
    created_by_id: str | None = None
    last_updated_by_id: str | None = None


class CreateArchive(Body):
    """An archive to make. Without an embedding model the server's default is used."""

    name: str
    description: str | None = None
    embedding: str | None = None
    embedding_config: EmbeddingConfig | None = None

    @property
    def embedding_handle(self) -> str | None:
        """The `provider/model` asked for in either form, or None."""
        return self.embedding or (self.embedding_config.wire_handle if self.embedding_config else None)


class UpdateArchive(Patch):
    """Changes to an archive."""

    never_null: ClassVar[frozenset[str]] = frozenset({"name"})

    name: str | None = None
    description: str | None = None
    embedding: str | None = None
    """Another embedding model (ours; V1 cannot change it): everything is embedded again in the background."""


class EmbeddingProgress(Wire):
    """How far the texts of an archive or an agent are embedded by its model. Long texts count in pieces.

    Without a model nothing waits: everything is found by its words. `failed` pieces were refused by the model, and
    `error` is what it last said.
    """

    model: str | None
    pieces: int
    embedded: int
    waiting: int
    failed: int
    error: str | None = None
