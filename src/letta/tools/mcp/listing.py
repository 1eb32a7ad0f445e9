"""A server's tools as stored tools: what a new listing adds, changes and takes away.

What a person changed about a tool stays, unless the server's own definition of it has changed. Knows no connection.
"""

import hashlib
from collections.abc import Sequence
from typing import Any, Protocol

import orjson
from sqlalchemy import Connection

from letta.errors import Conflict
from letta.schemas.mcp_servers import McpRefresh, McpToolHealth
from letta.schemas.tools import Tool, ToolType
from letta.store import mcp_servers, tools
from letta.store.mcp_servers import StoredServer

INVALID = "INVALID"
_LONGEST_NAME = 64
_FROM_THE_SERVER = ("description", "json_schema", "enable_parallel_execution", "idempotent")


class JudgedTool(Protocol):
    """As `letta.tools.mcp.judge` makes it."""

    @property
    def name(self) -> str: ...
    @property
    def call_name(self) -> str: ...
    @property
    def description(self) -> str: ...
    @property
    def parameters(self) -> dict[str, Any]: ...
    @property
    def health(self) -> McpToolHealth: ...
    @property
    def read_only(self) -> bool: ...


def quarantined(tool: Tool) -> bool:
    """Whether a tool must not be offered to models."""
    origin = (tool.metadata_ or {}).get("mcp")
    health = origin.get("health") if isinstance(origin, dict) else None
    return isinstance(health, dict) and health.get("status") == INVALID


def store(connection: Connection, server_id: str, judged: Sequence[JudgedTool]) -> McpRefresh:
    """Bring the server's tools to a listing.

    Raises letta.errors.NotFound when the server is gone, letta.errors.Conflict when no name is left for a tool.
    """
    server = mcp_servers.get(connection, server_id, hold=True)
    known = mcp_servers.own_names(connection, server_id)
    refresh = McpRefresh(added=[], updated=[], deleted=[])
    for name in known.keys() - {one.name for one in judged}:
        refresh.deleted.append(str(tools.get(connection, known[name]).name))
        tools.remove(connection, known[name])
    for one in judged:
        values = _values(server, one)
        if one.name not in known:
            values["name"] = values["json_schema"]["name"] = _free_name(connection, server, one.call_name)
            tool = tools.put(connection, values)
            mcp_servers.adopt(connection, server_id, tool.id, one.name)
            refresh.added.append(str(tool.name))
        else:
            tool = tools.get(connection, known[one.name])
            if (tool.metadata_ or {}).get("mcp", {}).get("definition") != values["metadata_"]["mcp"]["definition"]:
                values["json_schema"]["name"] = tool.name
                changes = {name: values[name] for name in _FROM_THE_SERVER}
                changes["metadata_"] = {**(tool.metadata_ or {}), **values["metadata_"]}
                tools.change(connection, tool.id, changes)
                refresh.updated.append(str(tool.name))
        if one.health.status == INVALID:
            refresh.quarantined[str(tool.name)] = one.health.reasons
    mcp_servers.note_check(connection, server_id, None)
    refresh.deleted.sort()
    return refresh


def rename(connection: Connection, server: StoredServer, before: str) -> None:
    """Carry a server's new name to its tools, whose own names stay."""
    for tool in mcp_servers.tools_of(connection, server.id):
        tags = [tag_of(server.server_name) if tag == tag_of(before) else tag for tag in tool.tags or ()]
        mine = {**(tool.metadata_ or {}).get("mcp", {}), "server_name": server.server_name}
        tools.change(connection, tool.id, {"tags": tags, "metadata_": {**(tool.metadata_ or {}), "mcp": mine}})


def tag_of(server_name: str) -> str:
    return f"mcp:{server_name}"


def _values(server: StoredServer, one: JudgedTool) -> dict[str, Any]:
    schema = {"name": one.call_name, "description": one.description, "parameters": one.parameters}
    health = one.health.model_dump(mode="json")
    definition = hashlib.sha256(orjson.dumps([schema, health, one.read_only])).hexdigest()
    return {
        "tool_type": ToolType.EXTERNAL_MCP.value,
        "description": one.description,
        "json_schema": schema,
        "tags": [tag_of(server.server_name)],
        "return_char_limit": 50_000,
        # What only reads may run beside other calls, and again after a crash.
        "enable_parallel_execution": one.read_only,
        "idempotent": one.read_only,
        "metadata_": {
            "mcp": {
                "server_id": server.id,
                "server_name": server.server_name,
                "tool_name": one.name,
                "health": health,
                "definition": definition,
            }
        },
    }


def _free_name(connection: Connection, server: StoredServer, wanted: str) -> str:
    """The tool's own name, or one with the server's in front where another tool has it."""
    prefix = "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in server.server_name)
    candidates = [wanted, f"{prefix[:24]}_{wanted}"[:_LONGEST_NAME]]
    candidates += [f"{candidates[1][: _LONGEST_NAME - 4]}_{number}" for number in range(2, 100)]
    taken = tools.ids_by_name(connection, candidates)
    free = next((name for name in candidates if name not in taken), None)
    if free is None:
        raise Conflict(f"every name for the tool {wanted} of MCP server {server.server_name} is taken")
    return free
