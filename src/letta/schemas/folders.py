"""Folders of files, and sources, which are the same thing under its old name. Knows nothing of files' contents."""

from enum import StrEnum
from typing import ClassVar

from letta.schemas.common import Body, JsonObject, Patch, Size, Timestamp, Wire
from letta.schemas.llm_config import EmbeddingConfig


class VectorDBProvider(StrEnum):
    """Where vectors are kept: `native` is the server's own database."""

    NATIVE = "native"
    TPUF = "tpuf"
    PINECONE = "pinecone"


class Folder(Wire):
    """A folder. Its id begins with `source-`."""

    id: str
    name: str
    embedding_config: EmbeddingConfig
    description: str | None = None
    instructions: str | None = None
    metadata: JsonObject | None = None
    created_at: Timestamp | None = None
    updated_at: Timestamp | None = None
    created_by_id: str | None = None
    last_updated_by_id: str | None = None


class Source(Folder):
    """A folder under its old name."""

    vector_db_provider: VectorDBProvider | None = VectorDBProvider.NATIVE


class CreateFolder(Body):
    """A folder to make. Without an embedding model the server's default is used; chunks are in tokens."""

    name: str
    description: str | None = None
    instructions: str | None = None
    metadata: JsonObject | None = None
    embedding: str | None = None
    embedding_chunk_size: Size | None = None
    embedding_config: EmbeddingConfig | None = None

    @property
    def embedding_handle(self) -> str | None:
        """The `provider/model` asked for in either form, or None."""
        return self.embedding or (self.embedding_config.wire_handle if self.embedding_config else None)


class UpdateFolder(Patch):
    """Changes to a folder. The embedding model of a folder with files cannot change."""

    never_null: ClassVar[frozenset[str]] = frozenset({"name", "embedding_config"})

    name: str | None = None
    description: str | None = None
    instructions: str | None = None
    metadata: JsonObject | None = None
    embedding_config: EmbeddingConfig | None = None
