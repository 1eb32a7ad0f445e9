"""MCP servers: connecting them, and what they offer."""

from openharness.client.base import ApiMethods, body, url_path
from openharness.types import ConnectMcpRequest, McpPrompt, McpResource, McpServer, Tool


class McpMethods(ApiMethods):
    async def list_mcp_servers(self) -> list[McpServer]:
        """Every MCP server."""
        return await self._many(McpServer, "GET", "/mcp/servers")

    async def connect_mcp_server(self, request: ConnectMcpRequest) -> McpServer:
        """Connect an MCP server."""
        return await self._one(McpServer, "POST", "/mcp/servers", json_data=body(request))

    async def disconnect_mcp_server(self, server_id: str) -> None:
        """Disconnect an MCP server."""
        await self._transport.request("DELETE", url_path("mcp", "servers", server_id))

    async def list_mcp_tools(self, server_id: str) -> list[Tool]:
        """The tools of an MCP server."""
        return await self._many(Tool, "GET", url_path("mcp", "servers", server_id, "tools"))

    async def list_mcp_resources(self, server_id: str) -> list[McpResource]:
        """The resources of an MCP server."""
        return await self._many(McpResource, "GET", url_path("mcp", "servers", server_id, "resources"))

    async def list_mcp_prompts(self, server_id: str) -> list[McpPrompt]:
        """The prompts of an MCP server."""
        return await self._many(McpPrompt, "GET", url_path("mcp", "servers", server_id, "prompts"))
