"""Memory: blocks, the archive, and snapshots of both."""

from typing import Any

from pydantic import TypeAdapter

from openharness.client.base import ApiMethods, body, parsed, url_path
from openharness.types import (
    ArchiveEntry,
    CreateMemoryBlockRequest,
    ExportMemoryRequest,
    ImportMemoryRequest,
    ImportMemoryResponse,
    MemoryBlock,
    UpdateMemoryBlockRequest,
)

ZIP_START = b"PK"


class MemoryMethods(ApiMethods):
    async def list_memory_blocks(self, agent_id: str | None = None) -> list[MemoryBlock]:
        """The blocks, all or those of one agent."""
        params = {"agent_id": agent_id} if agent_id else {}
        return await self._many(MemoryBlock, "GET", "/memory/blocks", params=params)

    async def get_memory_block(self, block_id: str) -> MemoryBlock:
        """One block."""
        return await self._one(MemoryBlock, "GET", url_path("memory", "blocks", block_id))

    async def create_memory_block(self, request: CreateMemoryBlockRequest) -> MemoryBlock:
        """Make a block."""
        return await self._one(MemoryBlock, "POST", "/memory/blocks", json_data=body(request))

    async def update_memory_block(self, block_id: str, request: UpdateMemoryBlockRequest) -> MemoryBlock:
        """Change what the request sets."""
        return await self._one(MemoryBlock, "PATCH", url_path("memory", "blocks", block_id), json_data=body(request))

    async def delete_memory_block(self, block_id: str) -> None:
        """Delete a block."""
        await self._transport.request("DELETE", url_path("memory", "blocks", block_id))

    async def search_archive(self, query: str, limit: int = 10) -> list[ArchiveEntry]:
        """The `limit` entries nearest to `query`."""
        sought = {"query": query, "limit": limit}
        return await self._many(ArchiveEntry, "POST", "/memory/archive/search", json_data=sought)

    async def add_to_archive(self, content: str, metadata: dict[str, Any] | None = None) -> ArchiveEntry:
        """Put a text into the archive."""
        added = {"content": content, "metadata": metadata or {}}
        return await self._one(ArchiveEntry, "POST", "/memory/archive", json_data=added)

    async def export_memory(self, agent_id: str, request: ExportMemoryRequest | None = None) -> bytes:
        """An agent's memory as a ZIP snapshot.

        The bytes are those of the POST that asks for the export; from a server that answers something else to it, they
        are fetched with a GET afterwards.
        """
        path = url_path("agents", agent_id, "memory", "export")
        params = {"include_archive": "false"} if request and not request.include_archive else {}
        exported = await self._transport.fetch("POST", path, params=params)
        if exported.startswith(ZIP_START):
            return exported
        return await self._transport.download(path, params=params)

    async def import_memory(
        self,
        agent_id: str,
        snapshot: bytes,
        filename: str = "memory.zip",
        request: ImportMemoryRequest | None = None,
    ) -> ImportMemoryResponse:
        """Take a ZIP snapshot into an agent's memory."""
        answer = await self._transport.upload(
            url_path("agents", agent_id, "memory", "import"),
            snapshot,
            filename,
            content_type="application/zip",
            params=body(request) if request else None,
        )
        return parsed(TypeAdapter(ImportMemoryResponse), answer)
