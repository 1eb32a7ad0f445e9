"""Tools: which there are, and calling one directly."""

from typing import Any

from openharness.client.base import ApiMethods, url_path
from openharness.types import PaginatedResponse, PaginationParams, Tool


class ToolMethods(ApiMethods):
    async def list_tools(
        self, source: str | None = None, pagination: PaginationParams | None = None
    ) -> PaginatedResponse[Tool]:
        """One page of the tools, all or those of one `source` (`builtin`, `custom`, `mcp`)."""
        return await self._page(Tool, "/tools", pagination, **({"source": source} if source else {}))

    async def get_tool(self, tool_id: str) -> Tool:
        """One tool."""
        return await self._one(Tool, "GET", url_path("tools", tool_id))

    async def invoke_tool(self, tool_id: str, input_data: dict[str, Any]) -> dict[str, Any]:
        """Call a tool and answer what it gives."""
        answer: dict[str, Any] = await self._transport.request(
            "POST", url_path("tools", tool_id, "invoke"), json_data={"input": input_data}
        )
        return answer
