"""MCP servers: `/v1/mcp-servers`. Their secrets go into the vault; answers show stars, which written back keep them."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Any, Literal

from fastapi import Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import TypeAdapter

from letta.api import routes
from letta.api.context import AgentId, McpServerId, Parts, Server, ToolId, reply
from letta.api.openapi import STREAM
from letta.api.sse import frame
from letta.errors import LettaError, McpSignInNeeded
from letta.schemas.mcp_servers import (
    CreateMcpServer,
    McpRefresh,
    McpServer,
    McpSignIn,
    UpdateMcpServer,
)
from letta.schemas.tools import Tool, ToolExecutionResult, ToolRun
from letta.store import agents, mcp_servers
from letta.store.mcp_servers import StoredServer
from letta.tools.mcp.servers import shown
from letta.tools.mcp.sign_in import SignIn

router = routes.router(prefix="/v1/mcp-servers", tags=["mcp_servers"])

CALLBACK = "/v1/tools/mcp/oauth/callback"
PING_SECONDS = 15.0

ForAgent = Annotated[
    str | None,
    Query(pattern="^agent-[0-9a-f-]{36}$", description="The agent whose secrets the configuration may name"),
]

_SERVER: TypeAdapter[Any] = TypeAdapter(McpServer)


@router.get("", response_model=list[McpServer])
async def list_mcp_servers(parts: Parts) -> Any:
    stored = await parts.database.read(mcp_servers.list_all)
    counted = await parts.database.read(mcp_servers.count_tools)
    return reply([_shown(parts, one, counted.get(one.id, 0)) for one in stored])


@router.post("", response_model=McpServer)
async def create_mcp_server(parts: Parts, body: CreateMcpServer) -> Any:
    """Add a server and list its tools. One that does not answer is added all the same: `health` says why."""
    stored = await parts.mcp.add(body.server_name, body.config.model_dump(mode="json"))
    return reply(await _answer(parts, stored))


@router.get("/connect/{mcp_server_id}", response_class=StreamingResponse, responses=STREAM)
async def connect_mcp_server(parts: Parts, request: Request, mcp_server_id: McpServerId) -> Any:
    """Connect as a stream of events; where the server asks for it, a person signs in with a browser meanwhile."""
    stored = await parts.database.read(mcp_servers.get, mcp_server_id)
    return stream_connect(parts, request, stored.server_name, parts.mcp.whole(stored))


@router.get("/{mcp_server_id}", response_model=McpServer)
async def retrieve_mcp_server(parts: Parts, mcp_server_id: McpServerId) -> Any:
    return reply(await _answer(parts, await parts.database.read(mcp_servers.get, mcp_server_id)))


@router.patch("/{mcp_server_id}", response_model=McpServer)
async def update_mcp_server(parts: Parts, mcp_server_id: McpServerId, body: UpdateMcpServer) -> Any:
    """Change its name or configuration. A changed configuration closes its connections and lists the tools again."""
    changes: dict[str, Any] = {}
    if body.config is not None:
        sent = body.config.model_fields_set | {"mcp_server_type"}
        changes = body.config.model_dump(mode="json", include=sent)
    stored = await parts.mcp.change(mcp_server_id, body.server_name, changes)
    return reply(await _answer(parts, stored))


@router.delete("/{mcp_server_id}", status_code=204, response_model=None)
async def delete_mcp_server(parts: Parts, mcp_server_id: McpServerId) -> Any:
    """Delete a server and its tools; agents lose them."""
    await parts.mcp.remove(mcp_server_id)
    return Response(status_code=204)


@router.patch("/{mcp_server_id}/refresh", response_model=McpRefresh)
async def refresh_mcp_server(parts: Parts, mcp_server_id: McpServerId, agent_id: ForAgent = None) -> Any:
    """List its tools anew: what came, changed and went, and what is kept from models because its schema is broken."""
    await _known(parts, agent_id)
    return reply(await parts.mcp.refresh(mcp_server_id, agent_id))


# -- tools -------------------------------------------------------------------------------------------------------------


@router.get("/{mcp_server_id}/tools", response_model=list[Tool])
async def list_mcp_server_tools(parts: Parts, mcp_server_id: McpServerId) -> Any:
    """Its tools as they were listed last."""
    await parts.database.read(mcp_servers.get, mcp_server_id)
    return reply(await parts.database.read(mcp_servers.tools_of, mcp_server_id))


@router.get("/{mcp_server_id}/tools/{tool_id}", response_model=Tool)
async def retrieve_mcp_server_tool(parts: Parts, mcp_server_id: McpServerId, tool_id: ToolId) -> Any:
    return reply(await parts.database.read(mcp_servers.tool_of, mcp_server_id, tool_id))


@router.post("/{mcp_server_id}/tools/{tool_id}/run", response_model=ToolExecutionResult)
async def run_mcp_server_tool(
    parts: Parts, mcp_server_id: McpServerId, tool_id: ToolId, body: ToolRun, agent_id: ForAgent = None
) -> Any:
    """Run a tool. What the tool itself reports as an error is a result with the status `error`."""
    tool = await parts.database.read(mcp_servers.tool_of, mcp_server_id, tool_id)
    await _known(parts, agent_id)
    return reply(await run_tool(parts, tool, body.args, agent_id))


async def run_tool(parts: Server, tool: Tool, arguments: dict[str, Any], agent_id: str | None) -> ToolExecutionResult:
    """A tool's outcome. Raises letta.errors.McpFailed."""
    outcome = await parts.mcp.call(tool.id, arguments, agent_id)
    return ToolExecutionResult(status="success" if outcome.ok else "error", func_return=outcome.text)


# -- sign-ins ----------------------------------------------------------------------------------------------------------


@router.post("/{mcp_server_id}/sign-in", response_model=McpSignIn)
async def sign_in_at_mcp_server(parts: Parts, request: Request, mcp_server_id: McpServerId) -> Any:
    """Begin to sign in: open `authorization_url` in a browser, then ask how it went until it is no longer `waiting`."""
    stored = await parts.database.read(mcp_servers.get, mcp_server_id)
    sign_in = await parts.mcp.sign_in(stored.server_name, parts.mcp.whole(stored), callback_url(request))
    return reply(_state(sign_in))


@router.get("/{mcp_server_id}/sign-in/{session_id}", response_model=McpSignIn)
async def retrieve_mcp_server_sign_in(parts: Parts, mcp_server_id: McpServerId, session_id: str) -> Any:
    """How a sign-in goes."""
    await parts.database.read(mcp_servers.get, mcp_server_id)
    return reply(_state(parts.mcp.find_sign_in(session_id)))


@router.delete("/{mcp_server_id}/sign-in", status_code=204, response_model=None)
async def sign_out_of_mcp_server(parts: Parts, mcp_server_id: McpServerId) -> Any:
    """Forget the tokens for its address."""
    await parts.mcp.sign_out(await parts.database.read(mcp_servers.get, mcp_server_id))
    return Response(status_code=204)


def callback_url(request: Request) -> str:
    """Where a browser comes back to: this server, by the name the caller knows it by."""
    return str(request.base_url).rstrip("/") + CALLBACK


def stream_connect(parts: Server, request: Request, name: str, config: Mapping[str, Any]) -> StreamingResponse:
    """The events of connecting to a server: `connection_attempt`, then `success` or `error`; between them, where a
    person has to sign in, `oauth_required`, `authorization_url` and `waiting_for_auth`."""
    events = _connect(parts, name, config, callback_url(request))
    return StreamingResponse(events, media_type="text/event-stream", headers={"Cache-Control": "no-store"})


async def _connect(parts: Server, name: str, config: Mapping[str, Any], callback: str) -> AsyncIterator[bytes]:
    yield frame({"event": "connection_attempt", "server_name": name})
    try:
        tools = await parts.mcp.try_out(name, config)
    except McpSignInNeeded as needed:
        yield frame({"event": "oauth_required", "message": needed.message})
    except LettaError as error:
        yield frame({"event": "error", "message": error.message})
        return
    else:
        yield frame({"event": "success", "tools": [tool.model_dump(mode="json") for tool in tools]})
        return
    try:
        sign_in = await parts.mcp.sign_in(name, config, callback)
    except LettaError as error:
        yield frame({"event": "error", "message": error.message})
        return
    if sign_in.authorization_url is not None and not sign_in.done.is_set():
        yield frame({"event": "authorization_url", "url": sign_in.authorization_url, "session_id": sign_in.id})
        yield frame({"event": "waiting_for_auth", "message": "Waiting for the sign-in in the browser"})
    async for ping in _pings(sign_in.done):
        yield ping
    if sign_in.error is not None:
        yield frame({"event": "error", "message": sign_in.error.message})
        return
    found = await shown(sign_in.tools or [])
    yield frame({"event": "success", "tools": [tool.model_dump(mode="json") for tool in found]})


async def _pings(done: asyncio.Event) -> AsyncIterator[bytes]:
    """A comment now and then until it is done: clients give up on a silent stream."""
    while not done.is_set():
        try:
            async with asyncio.timeout(PING_SECONDS):
                await done.wait()
        except TimeoutError:
            yield b": waiting\n\n"


def _state(sign_in: SignIn) -> McpSignIn:
    status: Literal["signed_in", "waiting", "not_needed", "failed"] = "waiting"
    if sign_in.error is not None:
        status = "failed"
    elif sign_in.done.is_set():
        status = "signed_in" if sign_in.signed_in else "not_needed"
    return McpSignIn(
        status=status,
        authorization_url=sign_in.authorization_url if status == "waiting" else None,
        session_id=sign_in.id,
        error=sign_in.error.message if sign_in.error else None,
    )


# -- answers -----------------------------------------------------------------------------------------------------------


async def _known(parts: Server, agent_id: AgentId | None) -> None:
    """Raises letta.errors.NotFound for an agent that is not there."""
    if agent_id is not None:
        await parts.database.read(agents.get, agent_id, ())


async def _answer(parts: Server, stored: StoredServer) -> Any:
    counted = await parts.database.read(mcp_servers.count_tools)
    return _shown(parts, stored, counted.get(stored.id, 0))


def _shown(parts: Server, stored: StoredServer, tools: int) -> Any:
    health = parts.mcp.health(stored, tools)
    named = {"id": stored.id, "server_name": stored.server_name, "health": health}
    return _SERVER.validate_python({**stored.config, **named})
