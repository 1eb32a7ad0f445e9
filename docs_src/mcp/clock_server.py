"""An MCP server with one tool. Needs `pip install mcp`."""

from datetime import UTC, datetime

from mcp.server.mcpserver import MCPServer

server = MCPServer("clock")


@server.tool()
def current_year() -> int:
    """The current year, in UTC."""
    return datetime.now(UTC).year


if __name__ == "__main__":
    server.run("stdio")
