"""Files in folders, and files as an agent sees them. Knows nothing of parsing."""

from enum import StrEnum

from letta.schemas.common import Timestamp, Wire


class ProcessingStatus(StrEnum):
    """How far a file is on its way from upload to search."""

    PENDING = "pending"
    PARSING = "parsing"
    EMBEDDING = "embedding"
    COMPLETED = "completed"
    ERROR = "error"


class DuplicateHandling(StrEnum):
    """What to do with an upload whose name the folder already has."""

    SKIP = "skip"
    ERROR = "error"
    SUFFIX = "suffix"
    REPLACE = "replace"


class FileMetadata(Wire):
    """A file. `source_id` is its folder's id, `file_size` is in bytes; `content` only where it was asked for."""

    id: str
    source_id: str
    file_name: str | None = None
    original_file_name: str | None = None
    file_path: str | None = None
    file_type: str | None = None
    file_size: int | None = None
    file_creation_date: str | None = None
    file_last_modified_date: str | None = None
    processing_status: ProcessingStatus | None = None
    error_message: str | None = None
    total_chunks: int | None = None
    chunks_embedded: int | None = None
    content: str | None = None
    created_at: Timestamp | None = None
    updated_at: Timestamp | None = None


class AgentFile(Wire):
    """A file an agent can open. Lines count from 1; `visible_content` is what the agent sees while it is open."""

    id: str
    file_id: str
    file_name: str
    folder_id: str
    folder_name: str
    is_open: bool
    last_accessed_at: Timestamp | None = None
    visible_content: str | None = None
    start_line: int | None = None
    end_line: int | None = None


class AgentFilesPage(Wire):
    """A page of an agent's files."""

    files: list[AgentFile]
    next_cursor: str | None = None
    has_more: bool


class FileStats(Wire):
    """A file in the statistics; bytes."""

    file_id: str
    file_name: str
    file_size: int | None = None


class FolderStats(Wire):
    """A folder in the statistics, in the words of SDK 0.1.x; bytes."""

    source_id: str
    source_name: str
    file_count: int = 0
    total_size: int = 0
    files: list[FileStats]


class FoldersStats(Wire):
    """Totals over all folders; bytes."""

    total_sources: int = 0
    total_files: int = 0
    total_size: int = 0
    sources: list[FolderStats]
