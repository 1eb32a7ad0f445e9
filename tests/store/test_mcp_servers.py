"""MCP servers as rows, their tools and tokens, on both databases."""

from typing import Any

import pytest
from sqlalchemy import Connection

from letta.errors import Conflict, NotFound
from letta.schemas.common import new_id
from letta.schemas.mcp_servers import McpRefresh, McpTool, McpToolHealth
from letta.store import mcp_servers, tools
from letta.store.access import Database
from letta.store.mcp_servers import StoredServer
from letta.tools.mcp import listing
from letta.tools.mcp.judge import Judged

URL = "https://mcp.test/mcp"
HEALTHY = McpToolHealth(status="STRICT_COMPLIANT")


def server(connection: Connection, name: str = "demo", url: str = URL) -> StoredServer:
    config = {"mcp_server_type": "sse", "server_url": url}
    return mcp_servers.create(
        connection, {"server_name": name, "server_type": "sse", "config": config, "secrets": b"locked"}
    )


def judged(name: str, description: str = "", health: McpToolHealth = HEALTHY) -> Judged:
    shown = McpTool(name=name, inputSchema={})
    return Judged(name, name, description, {"type": "object", "properties": {}}, health, False, shown)


async def test_server_is_kept_changed_and_removed(database: Database) -> None:
    def work(connection: Connection) -> None:
        made = server(connection)
        assert made == StoredServer(
            made.id, "demo", "sse", {"mcp_server_type": "sse", "server_url": URL}, b"locked", None, None
        )
        assert mcp_servers.named(connection, "demo") == made
        with pytest.raises(Conflict, match="there is an MCP server called 'demo' already"):
            server(connection)
        other = server(connection, "other")
        with pytest.raises(Conflict):
            mcp_servers.change(connection, other.id, {"server_name": "demo"})
        assert mcp_servers.change(connection, other.id, {"server_name": "third"}).server_name == "third"
        mcp_servers.note_check(connection, made.id, "it is gone")
        checked = mcp_servers.get(connection, made.id)
        assert (checked.failure, checked.checked_at is None) == ("it is gone", False)
        assert [one.server_name for one in mcp_servers.list_all(connection)] == ["demo", "third"]
        mcp_servers.remove(connection, made.id)
        for missing in (mcp_servers.get, mcp_servers.remove):
            with pytest.raises(NotFound):
                missing(connection, made.id)
        with pytest.raises(NotFound):
            mcp_servers.change(connection, new_id("mcp_server"), {"failure": None})

    await database.write(work)


async def test_tokens_go_with_the_last_server_of_their_address(database: Database) -> None:
    def work(connection: Connection) -> None:
        one, two = server(connection), server(connection, "two")
        assert mcp_servers.tokens(connection, URL) is None
        mcp_servers.keep_tokens(connection, URL, b"first")
        mcp_servers.keep_tokens(connection, URL, b"second")
        mcp_servers.remove(connection, one.id)
        assert mcp_servers.tokens(connection, URL) == b"second"
        mcp_servers.remove(connection, two.id)
        assert mcp_servers.tokens(connection, URL) is None

    await database.write(work)


async def test_listing_is_brought_to_the_stored_tools(database: Database) -> None:
    def work(connection: Connection) -> None:
        made = server(connection)
        first = listing.store(connection, made.id, [judged("a"), judged("b")])
        assert first == McpRefresh(added=["a", "b"], updated=[], deleted=[])
        invalid = McpToolHealth(status="INVALID", reasons=["it is broken"])
        second = listing.store(connection, made.id, [judged("b", "better"), judged("c", health=invalid)])
        assert second == McpRefresh(added=["c"], updated=["b"], deleted=["a"], quarantined={"c": ["it is broken"]})
        b, c = mcp_servers.tools_of(connection, made.id)
        assert (b.description, listing.quarantined(b), listing.quarantined(c)) == ("better", False, True)
        assert mcp_servers.origin(connection, b.id) == (mcp_servers.get(connection, made.id), "b")
        assert mcp_servers.count_tools(connection) == {made.id: 2}
        with pytest.raises(NotFound, match="is not one of MCP server"):
            mcp_servers.tool_of(connection, server(connection, "other").id, b.id)

    await database.write(work)


async def test_tool_replaced_by_code_is_no_longer_the_servers(database: Database) -> None:
    def work(connection: Connection) -> None:
        made = server(connection)
        listing.store(connection, made.id, [judged("a")])
        [before] = mcp_servers.tools_of(connection, made.id)
        mine: dict[str, Any] = {"name": "a", "tool_type": "custom", "tags": [], "return_char_limit": 1}
        tools.change(connection, before.id, mine)
        assert mcp_servers.tools_of(connection, made.id) == []
        with pytest.raises(NotFound):
            mcp_servers.origin(connection, before.id)
        assert listing.store(connection, made.id, [judged("a")]).added == ["demo_a"]
        mcp_servers.remove(connection, made.id)
        assert tools.get(connection, before.id).tool_type == "custom"

    await database.write(work)
