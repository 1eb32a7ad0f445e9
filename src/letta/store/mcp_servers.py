"""MCP servers as rows, which tools they brought, and tokens for them. Secrets are kept as they come: encrypted."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from letta.errors import Conflict, NotFound
from letta.schemas.common import new_id
from letta.schemas.tools import Tool, ToolType
from letta.store import tools
from letta.store.query import now
from letta.store.tables import mcp_servers, mcp_tokens, mcp_tools
from letta.store.tables import tools as tool_rows


@dataclass(frozen=True, slots=True)
class StoredServer:
    """A server's row. `config` is what is not secret; `secrets` (see `letta.store.vault`) no answer may carry.

    `checked_at` is when its tools were last listed, `failure` why that did not work.
    """

    id: str
    server_name: str
    server_type: str
    config: dict[str, Any]
    secrets: bytes | None
    checked_at: datetime | None
    failure: str | None


def create(connection: Connection, values: dict[str, Any]) -> StoredServer:
    """Store a new server; `values` are columns. Raises letta.errors.Conflict when its name is taken."""
    server_id, moment = new_id("mcp_server"), now()
    _free(connection, values["server_name"])
    try:
        connection.execute(insert(mcp_servers).values(id=server_id, created_at=moment, updated_at=moment, **values))
    except IntegrityError:
        # Another request stored the same name at the same moment.
        raise _taken(values["server_name"]) from None
    return get(connection, server_id)


def get(connection: Connection, server_id: str, *, hold: bool = False) -> StoredServer:
    """With `hold` nobody else can change it until the transaction ends. Raises letta.errors.NotFound."""
    query = select(mcp_servers).where(mcp_servers.c.id == server_id)
    row = connection.execute(query.with_for_update() if hold else query).first()
    if row is None:
        raise NotFound(f"MCP server {server_id} not found")
    return _stored(row)


def named(connection: Connection, name: str) -> StoredServer:
    """Raises letta.errors.NotFound."""
    row = connection.execute(select(mcp_servers).where(mcp_servers.c.server_name == name)).first()
    if row is None:
        raise NotFound(f"there is no MCP server called {name!r}")
    return _stored(row)


def list_all(connection: Connection) -> list[StoredServer]:
    """All of them, oldest first."""
    query = select(mcp_servers).order_by(mcp_servers.c.created_at, mcp_servers.c.id)
    return [_stored(row) for row in connection.execute(query)]


def change(connection: Connection, server_id: str, values: dict[str, Any]) -> StoredServer:
    """Write columns. Raises letta.errors.NotFound, and letta.errors.Conflict when the new name is taken."""
    if "server_name" in values:
        _free(connection, values["server_name"], server_id)
    changed = update(mcp_servers).where(mcp_servers.c.id == server_id).values(**values, updated_at=now())
    if connection.execute(changed).rowcount == 0:
        raise NotFound(f"MCP server {server_id} not found")
    return get(connection, server_id)


def note_check(connection: Connection, server_id: str, failure: str | None) -> None:
    """Remember that its tools were listed now, or why they could not be. A server that is gone is left alone."""
    checked = update(mcp_servers).where(mcp_servers.c.id == server_id)
    connection.execute(checked.values(checked_at=now(), failure=failure))


def remove(connection: Connection, server_id: str) -> None:
    """Delete a server, its tools, and tokens nobody else uses; agents lose the tools. Raises letta.errors.NotFound."""
    url = get(connection, server_id).config.get("server_url")
    for tool in tools_of(connection, server_id):
        tools.remove(connection, tool.id)
    connection.execute(delete(mcp_servers).where(mcp_servers.c.id == server_id))
    if url is not None and all(other.config.get("server_url") != url for other in list_all(connection)):
        forget_tokens(connection, url)


# -- its tools ---------------------------------------------------------------------------------------------------------


def tools_of(connection: Connection, server_id: str) -> list[Tool]:
    """The server's tools, by name."""
    found = [tools.get(connection, tool_id) for tool_id in own_names(connection, server_id).values()]
    return sorted(found, key=lambda tool: tool.name or "")


def tool_of(connection: Connection, server_id: str, tool_id: str) -> Tool:
    """One of the server's tools. Raises letta.errors.NotFound for a tool that is not this server's, too."""
    if tool_id not in own_names(connection, server_id).values():
        raise NotFound(f"tool {tool_id} is not one of MCP server {server_id}")
    return tools.get(connection, tool_id)


def origin(connection: Connection, tool_id: str) -> tuple[StoredServer, str]:
    """The server that runs a tool, and its own name for it. Raises letta.errors.NotFound."""
    query = _still_tools(select(mcp_tools.c.server_id, mcp_tools.c.name)).where(mcp_tools.c.tool_id == tool_id)
    row = connection.execute(query).first()
    if row is None:
        raise NotFound(f"tool {tool_id} belongs to no MCP server any more")
    return get(connection, row.server_id), row.name


def own_names(connection: Connection, server_id: str) -> dict[str, str]:
    """The ids of the server's tools, by the server's own names."""
    query = _still_tools(select(mcp_tools.c.name, mcp_tools.c.tool_id)).where(mcp_tools.c.server_id == server_id)
    return {row.name: row.tool_id for row in connection.execute(query)}


def adopt(connection: Connection, server_id: str, tool_id: str, name: str) -> None:
    """Remember that a tool is the server's, under the server's own name for it."""
    connection.execute(delete(mcp_tools).where(mcp_tools.c.server_id == server_id, mcp_tools.c.name == name))
    connection.execute(insert(mcp_tools).values(server_id=server_id, tool_id=tool_id, name=name))


def count_tools(connection: Connection) -> dict[str, int]:
    """How many tools each server has; servers without tools are missing."""
    query = _still_tools(select(mcp_tools.c.server_id, func.count())).group_by(mcp_tools.c.server_id)
    return {row.server_id: int(row[1]) for row in connection.execute(query)}


# -- tokens ------------------------------------------------------------------------------------------------------------


def tokens(connection: Connection, server_url: str) -> bytes | None:
    """What was kept for an address, encrypted."""
    found: bytes | None = connection.execute(
        select(mcp_tokens.c.secrets).where(mcp_tokens.c.server_url == server_url)
    ).scalar()
    return found


def keep_tokens(connection: Connection, server_url: str, secrets: bytes) -> None:
    """Keep tokens for an address instead of the ones there were."""
    moment = now()
    changed = update(mcp_tokens).where(mcp_tokens.c.server_url == server_url)
    if connection.execute(changed.values(secrets=secrets, updated_at=moment)).rowcount == 0:
        connection.execute(
            insert(mcp_tokens).values(server_url=server_url, secrets=secrets, created_at=moment, updated_at=moment)
        )


def forget_tokens(connection: Connection, server_url: str) -> None:
    connection.execute(delete(mcp_tokens).where(mcp_tokens.c.server_url == server_url))


def _still_tools(query: Select[Any]) -> Select[Any]:
    """Without tools that somebody has replaced by code under the same name."""
    return query.join(tool_rows, tool_rows.c.id == mcp_tools.c.tool_id).where(
        tool_rows.c.tool_type == ToolType.EXTERNAL_MCP.value
    )


def _free(connection: Connection, name: str, mine: str | None = None) -> None:
    other = connection.execute(select(mcp_servers.c.id).where(mcp_servers.c.server_name == name)).scalar()
    if other not in (None, mine):
        raise _taken(name)


def _taken(name: str) -> Conflict:
    return Conflict(f"server_name: there is an MCP server called {name!r} already")


def _stored(row: Any) -> StoredServer:
    return StoredServer(row.id, row.server_name, row.server_type, row.config, row.secrets, row.checked_at, row.failure)
