"""Files in the harness's workspace."""

from typing import Any

from pydantic import TypeAdapter

from openharness.client.base import ApiMethods, parsed
from openharness.types import FileInfo


class FileMethods(ApiMethods):
    async def list_files(self, path: str = "/") -> list[FileInfo]:
        """What lies in a directory."""
        return await self._many(FileInfo, "GET", "/files", params={"path": path})

    async def read_file(self, path: str, offset: int | None = None, limit: int | None = None) -> str:
        """The text of a file, or the part of it that `offset` and `limit` name."""
        asked: dict[str, Any] = {"path": path, "offset": offset, "limit": limit}
        answer = await self._transport.request(
            "GET", "/files/read", params={name: value for name, value in asked.items() if value is not None}
        )
        return str(answer.get("content", ""))

    async def write_file(self, path: str, content: str, create_directories: bool = False) -> FileInfo:
        """Write a text file."""
        written = {"path": path, "content": content, "create_directories": create_directories}
        return await self._one(FileInfo, "POST", "/files/write", json_data=written)

    async def delete_file(self, path: str) -> None:
        """Delete a file."""
        await self._transport.request("DELETE", "/files", params={"path": path})

    async def search_files(self, pattern: str, path: str | None = None, max_results: int = 100) -> list[FileInfo]:
        """The files that match `pattern`."""
        sought: dict[str, Any] = {"pattern": pattern, "max_results": max_results} | ({"path": path} if path else {})
        return await self._many(FileInfo, "GET", "/files/search", params=sought)

    async def download_file(self, path: str) -> bytes:
        """The bytes of a file."""
        return await self._transport.download("/files/download", params={"path": path})

    async def upload_file(self, path: str, content: bytes, filename: str) -> FileInfo:
        """Store bytes as a file."""
        answer = await self._transport.upload("/files/upload", content, filename, params={"path": path})
        return parsed(TypeAdapter(FileInfo), answer)
