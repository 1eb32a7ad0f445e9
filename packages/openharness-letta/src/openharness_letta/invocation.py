"""Calling a tool without a model: in this process, at its MCP server, or on the Letta server for an agent."""

from typing import Any

from openharness_letta.connection import Connection, url_path
from openharness_letta.errors import ToolInvocationError, about
from openharness_letta.tools import ClientTool, listed, mcp_server_of


async def invoke_here(tool: ClientTool, given: dict[str, Any]) -> Any:
    """Run a tool of this process.

    Raises:
        ToolInvocationError: it raised, or has no implementation.
    """
    try:
        return await tool.call(given)
    except Exception as error:  # whatever a tool raises is its failure, and stays the cause
        raise ToolInvocationError(f"Tool {tool.definition.name} failed: {type(error).__name__}: {error}") from error


def runs_at_mcp_server(tool: dict[str, Any]) -> bool:
    """Whether a tool of the server is one of an MCP server whose id is known."""
    return listed(tool).source == "mcp" and (mcp_server_of(tool) or "").startswith("mcp_server-")


async def invoke_at_mcp_server(connection: Connection, tool: dict[str, Any], given: dict[str, Any]) -> Any:
    """Run a tool at its MCP server."""
    path = url_path("mcp-servers", str(mcp_server_of(tool)), "tools", tool["id"], "run")
    with about("Tool", str(tool.get("name"))):
        return _returned(tool, await connection.send("post", path, {"args": given}))


async def invoke_for_agent(connection: Connection, tool: dict[str, Any], agent_id: str, given: dict[str, Any]) -> Any:
    """Run a tool an agent has, with that agent's secrets and memory."""
    path = url_path("agents", agent_id, "tools", str(tool.get("name")), "run")
    with about("Tool", f"{tool.get('name')} of agent {agent_id}"):
        return _returned(tool, await connection.send("post", path, {"args": given}))


async def give(connection: Connection, tool: dict[str, Any], agent_id: str) -> None:
    """Attach a tool to an agent; one it has already stays."""
    with about("Agent", agent_id):
        await connection.send("patch", url_path("agents", agent_id, "tools", "attach", tool["id"]))


def _returned(tool: dict[str, Any], ran: dict[str, Any]) -> Any:
    if ran.get("status") != "error":
        return ran.get("func_return")
    said = ran.get("func_return") or "\n".join(ran.get("stderr") or []) or "no reason given"
    raise ToolInvocationError(f"Tool {tool.get('name')} failed: {said}")
