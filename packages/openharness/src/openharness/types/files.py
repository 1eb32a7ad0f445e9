"""Files in a harness's workspace. Pure data."""

from datetime import datetime

from pydantic import BaseModel


class FileInfo(BaseModel):
    """A file or directory; `size` is in bytes."""

    path: str
    name: str
    size: int
    is_directory: bool
    mime_type: str | None = None
    modified_at: datetime | None = None


class ReadFileRequest(BaseModel):
    """Which file to read, and which part of it."""

    path: str
    offset: int | None = None
    limit: int | None = None


class WriteFileRequest(BaseModel):
    """What to write where."""

    path: str
    content: str | bytes
    create_directories: bool = False


class SearchFilesRequest(BaseModel):
    """Which files to find."""

    pattern: str
    path: str | None = None
    max_results: int = 100
