"""What agents remember: blocks in view, the archive behind them, snapshots of both. Pure data."""

from datetime import datetime
from enum import Enum
from typing import Any

from pydantic import BaseModel, Field

from openharness.types.common import MemoryBlockId


class MemoryBlockType(str, Enum):
    """What a block is for."""

    CORE = "core"
    ARCHIVAL = "archival"
    WORKING = "working"
    CUSTOM = "custom"


class MemoryBlock(BaseModel):
    """A labelled piece of memory; its text is `content`."""

    id: MemoryBlockId
    type: MemoryBlockType
    label: str
    content: str
    read_only: bool = False
    metadata: dict[str, Any] = Field(default_factory=dict)
    created_at: datetime
    updated_at: datetime


class CreateMemoryBlockRequest(BaseModel):
    """What a new block is made from."""

    type: MemoryBlockType
    label: str
    content: str
    read_only: bool = False
    metadata: dict[str, Any] = Field(default_factory=dict)


class UpdateMemoryBlockRequest(BaseModel):
    """Changes to a block; a field that is `None` keeps its value."""

    content: str | None = None
    label: str | None = None
    metadata: dict[str, Any] | None = None


class ArchiveEntry(BaseModel):
    """A text in the archive."""

    id: str
    content: str
    embedding: list[float] | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)
    created_at: datetime


class MemoryMergeStrategy(str, Enum):
    """What to do with a block that is there already."""

    OVERWRITE = "overwrite"
    SKIP = "skip"
    MERGE = "merge"


class ExportMemoryRequest(BaseModel):
    """What a memory snapshot holds beside the blocks."""

    include_archive: bool = True


class ImportMemoryRequest(BaseModel):
    """How a memory snapshot is taken in."""

    merge_strategy: MemoryMergeStrategy = MemoryMergeStrategy.OVERWRITE


class ImportMemoryResponse(BaseModel):
    """What an imported snapshot brought."""

    blocks_imported: int
    archive_entries_imported: int
    conflicts: int = 0
    warnings: list[str] = Field(default_factory=list)
