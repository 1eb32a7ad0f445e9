"""MCP servers by their names, as SDK 0.1.x calls them: `/v1/tools/mcp`. The same servers as `/v1/mcp-servers`."""

from html import escape
from typing import Annotated, Any

from fastapi import Query, Request
from fastapi.responses import HTMLResponse, StreamingResponse

from letta.api import routes
from letta.api.context import Parts, reply
from letta.api.mcp_servers import run_tool, stream_connect
from letta.api.openapi import STREAM
from letta.errors import InvalidRequest, NotFound
from letta.schemas.mcp_servers import (
    McpRefresh,
    McpTool,
    McpTrial,
    NamedMcpServer,
    NamedSseServer,
    NamedStdioServer,
    NamedStreamableHttpServer,
    UpdateNamedMcpServer,
)
from letta.schemas.tools import Tool, ToolExecutionResult, ToolRun
from letta.store import mcp_servers, tools
from letta.store.mcp_servers import StoredServer

router = routes.router(prefix="/v1/tools/mcp", tags=["mcp_servers"])

_FORMS: dict[str, type[NamedStdioServer] | type[NamedSseServer] | type[NamedStreamableHttpServer]] = {
    "stdio": NamedStdioServer,
    "sse": NamedSseServer,
    "streamable_http": NamedStreamableHttpServer,
}


@router.get("/servers", response_model=dict[str, NamedMcpServer])
async def list_mcp_servers_by_name(parts: Parts) -> Any:
    stored = await parts.database.read(mcp_servers.list_all)
    return reply({one.server_name: _shown(one) for one in stored})


@router.put("/servers", response_model=list[NamedMcpServer])
async def put_mcp_server(parts: Parts, body: NamedMcpServer) -> Any:
    """Add a server, or bring the one of that name to this configuration. Answers all of them."""
    stored = await parts.database.read(mcp_servers.list_all)
    known = {one.server_name: one for one in stored}.get(body.server_name)
    if known is not None and known.server_type == body.type:
        await parts.mcp.change(known.id, None, _config(body))
    else:
        if known is not None:
            await parts.mcp.check(_config(body))
            await parts.mcp.remove(known.id)
        await parts.mcp.add(body.server_name, _config(body))
    return await _all(parts)


@router.post("/servers/test", response_model=McpTrial)
async def test_mcp_server(parts: Parts, body: NamedMcpServer) -> Any:
    """Connect to a server without adding it, and list its tools."""
    return reply(McpTrial(tools=await parts.mcp.try_out(body.server_name, _config(body))))


@router.post("/servers/connect", response_class=StreamingResponse, responses=STREAM)
async def connect_mcp_server_by_configuration(parts: Parts, request: Request, body: NamedMcpServer) -> Any:
    """Connect as a stream of events; where the server asks for it, a person signs in with a browser meanwhile."""
    await parts.mcp.check(_config(body))
    return stream_connect(parts, request, body.server_name, _config(body))


@router.get("/oauth/callback", response_class=HTMLResponse)
async def finish_mcp_sign_in(
    parts: Parts,
    state: Annotated[str, Query(min_length=1)],
    code: str | None = None,
    iss: str | None = None,
    error: str | None = None,
    error_description: str | None = None,
) -> Any:
    """Where a browser comes back to from a sign-in. Needs no password: `state` is known to that browser alone."""
    if code is None and error is None:
        raise InvalidRequest("code: the sign-in brought neither a code nor an error")
    refusal = None if error is None else f"{error}{f' ({error_description})' if error_description else ''}"
    parts.mcp.come_back(state, {"code": code, "state": state, "iss": iss}, refusal)
    told = "Signed in. You can close this page." if refusal is None else f"Not signed in: {escape(refusal)}"
    return HTMLResponse(f"<!doctype html><meta charset=utf-8><title>MCP</title><p>{told}</p>")


@router.patch("/servers/{mcp_server_name}", response_model=NamedMcpServer)
async def update_mcp_server_by_name(parts: Parts, mcp_server_name: str, body: UpdateNamedMcpServer) -> Any:
    stored = await parts.database.read(mcp_servers.named, mcp_server_name)
    changes: dict[str, Any] = body.model_dump(mode="json", include=body.model_fields_set - {"stdio_config", "token"})
    if body.token is not None:
        changes.setdefault("auth_token", body.token)
    if body.stdio_config is not None:
        changes |= _config(body.stdio_config)
    elif changes:
        changes["mcp_server_type"] = stored.server_type if stored.server_type != "stdio" else "streamable_http"
    return reply(_shown(await parts.mcp.change(stored.id, None, changes)))


@router.delete("/servers/{mcp_server_name}", response_model=list[NamedMcpServer])
async def delete_mcp_server_by_name(parts: Parts, mcp_server_name: str) -> Any:
    """Delete a server and its tools. Answers those that are left."""
    stored = await parts.database.read(mcp_servers.named, mcp_server_name)
    await parts.mcp.remove(stored.id)
    return await _all(parts)


@router.get("/servers/{mcp_server_name}/tools", response_model=list[McpTool])
async def list_mcp_tools_by_server(parts: Parts, mcp_server_name: str) -> Any:
    """The tools as the server lists them now."""
    stored = await parts.database.read(mcp_servers.named, mcp_server_name)
    return reply(await parts.mcp.tools(stored))


@router.post("/servers/{mcp_server_name}/resync", response_model=McpRefresh)
async def resync_mcp_server(parts: Parts, mcp_server_name: str) -> Any:
    """List its tools anew."""
    stored = await parts.database.read(mcp_servers.named, mcp_server_name)
    return reply(await parts.mcp.refresh(stored.id))


@router.post("/servers/{mcp_server_name}/tools/{mcp_tool_name}/execute", response_model=ToolExecutionResult)
async def execute_mcp_tool(parts: Parts, mcp_server_name: str, mcp_tool_name: str, body: ToolRun) -> Any:
    """Run a tool."""
    tool = await _find(parts, mcp_server_name, mcp_tool_name)
    return reply(await run_tool(parts, tool, body.args, None))


@router.post("/servers/{mcp_server_name}/{mcp_tool_name}", response_model=Tool)
async def add_mcp_tool(parts: Parts, mcp_server_name: str, mcp_tool_name: str) -> Any:
    """The tool, ready to be attached to agents. Its server is asked again where it is not known yet."""
    return reply(await _find(parts, mcp_server_name, mcp_tool_name))


async def _find(parts: Parts, server_name: str, tool_name: str) -> Tool:
    stored = await parts.database.read(mcp_servers.named, server_name)
    known = await parts.database.read(mcp_servers.own_names, stored.id)
    if tool_name not in known:
        await parts.mcp.refresh(stored.id)
        known = await parts.database.read(mcp_servers.own_names, stored.id)
    if tool_name not in known:
        names = ", ".join(sorted(known)) or "none"
        raise NotFound(f"MCP server {server_name} has no tool called {tool_name!r} (it has: {names})")
    return await parts.database.read(tools.get, known[tool_name])


def _config(body: Any) -> dict[str, Any]:
    """A server's configuration in the newer form."""
    config: dict[str, Any] = body.model_dump(mode="json", exclude={"server_name", "type"})
    return {**config, "mcp_server_type": body.type}


async def _all(parts: Parts) -> Any:
    return reply([_shown(one) for one in await parts.database.read(mcp_servers.list_all)])


def _shown(stored: StoredServer) -> Any:
    form = _FORMS[stored.server_type]
    return form.model_validate({**stored.config, "server_name": stored.server_name, "type": stored.server_type})
