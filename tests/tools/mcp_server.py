"""An MCP server of the official library, started by tests as a process of its own.

    python mcp_server.py stdio|sse|streamable-http [port]

`MCP_FOLDER` names a folder it writes `calls` and `pid` to; a file `more` there adds a tool, a file `broken` one with a
schema that is none. With `MCP_OAUTH` set, a person has to sign in first.
"""

import asyncio
import base64
import os
import sys
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

from mcp.server.auth.provider import (
    AccessToken,
    AuthorizationCode,
    AuthorizationParams,
    OAuthAuthorizationServerProvider,
    RefreshToken,
    construct_redirect_uri,
)
from mcp.server.auth.settings import AuthSettings, ClientRegistrationOptions
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.utilities.types import Image
from mcp.shared.auth import OAuthClientInformationFull, OAuthToken
from mcp_types import Tool, ToolAnnotations
from pydantic import AnyHttpUrl

FOLDER = Path(os.environ.get("MCP_FOLDER", "."))
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
BROKEN = {"type": "object", "properties": {"what": {"type": "strnig"}}}
TOKEN_SECONDS = 3600


class Provider(OAuthAuthorizationServerProvider[AuthorizationCode, RefreshToken, AccessToken]):
    """Lets everybody sign in, and remembers it in memory."""

    def __init__(self) -> None:
        self.clients: dict[str, OAuthClientInformationFull] = {}
        self.codes: dict[str, AuthorizationCode] = {}
        self.access: dict[str, AccessToken] = {}
        self.refresh: dict[str, RefreshToken] = {}

    async def get_client(self, client_id: str) -> OAuthClientInformationFull | None:
        return self.clients.get(client_id)

    async def register_client(self, client_info: OAuthClientInformationFull) -> None:
        self.clients[client_info.client_id] = client_info

    async def authorize(self, client: OAuthClientInformationFull, params: AuthorizationParams) -> str:
        code = AuthorizationCode(
            code=uuid4().hex,
            scopes=params.scopes or [],
            expires_at=time.time() + 60,
            client_id=client.client_id,
            code_challenge=params.code_challenge,
            redirect_uri=params.redirect_uri,
            redirect_uri_provided_explicitly=params.redirect_uri_provided_explicitly,
            resource=params.resource,
        )
        self.codes[code.code] = code
        return construct_redirect_uri(str(params.redirect_uri), code=code.code, state=params.state)

    async def load_authorization_code(
        self, client: OAuthClientInformationFull, authorization_code: str
    ) -> AuthorizationCode | None:
        return self.codes.get(authorization_code)

    async def exchange_authorization_code(
        self, client: OAuthClientInformationFull, authorization_code: AuthorizationCode
    ) -> OAuthToken:
        del self.codes[authorization_code.code]
        return self._issue(client.client_id, authorization_code.resource)

    async def load_refresh_token(self, client: OAuthClientInformationFull, refresh_token: str) -> RefreshToken | None:
        return self.refresh.get(refresh_token)

    async def exchange_refresh_token(
        self, client: OAuthClientInformationFull, refresh_token: RefreshToken, scopes: list[str]
    ) -> OAuthToken:
        note("refreshed")
        del self.refresh[refresh_token.token]
        return self._issue(client.client_id, refresh_token.resource)

    async def load_access_token(self, token: str) -> AccessToken | None:
        # A file lets a test take back every token given so far.
        revoked = FOLDER / "revoke"
        if revoked.exists():
            revoked.unlink()
            self.access.clear()
        return self.access.get(token)

    async def revoke_token(self, token: AccessToken | RefreshToken) -> None:
        self.access.pop(token.token, None)

    def _issue(self, client_id: str, resource: str | None) -> OAuthToken:
        access, refresh = uuid4().hex, uuid4().hex
        self.access[access] = AccessToken(token=access, client_id=client_id, scopes=[], resource=resource)
        self.refresh[refresh] = RefreshToken(token=refresh, client_id=client_id, scopes=[], resource=resource)
        return OAuthToken(access_token=access, refresh_token=refresh, expires_in=TOKEN_SECONDS)


class Demo(MCPServer[Any]):
    """Lists what its folder says, besides its own tools."""

    async def list_tools(self) -> list[Tool]:
        listed = await super().list_tools()
        if (FOLDER / "more").exists():
            listed = [tool for tool in listed if tool.name != "picture"]
            listed.append(Tool(name="new.tool", description="New", input_schema={"type": "object", "properties": {}}))
            for tool in listed:
                if tool.name == "add":
                    tool.description = "Add two whole numbers."
        if (FOLDER / "broken").exists():
            listed.append(Tool(name="broken", description="Broken", input_schema=BROKEN))
        return listed


def note(line: str) -> None:
    with (FOLDER / "calls").open("a") as calls:
        calls.write(f"{line}\n")


def served(port: int) -> Demo:
    if not os.environ.get("MCP_OAUTH"):
        server = Demo("demo")
    else:
        settings = AuthSettings(
            issuer_url=AnyHttpUrl(f"http://127.0.0.1:{port}"),
            resource_server_url=AnyHttpUrl(f"http://127.0.0.1:{port}/mcp"),
            client_registration_options=ClientRegistrationOptions(enabled=True),
            validate_token_resource=False,
        )
        server = Demo("demo", auth_server_provider=Provider(), auth=settings)

    @server.tool(annotations=ToolAnnotations(read_only_hint=True))
    def add(a: int, b: int) -> int:
        """Add two numbers."""
        note("add")
        return a + b

    @server.tool()
    def fail() -> str:
        """Report an error."""
        raise ToolError("the moon is not available")

    @server.tool(structured_output=False)
    def picture() -> list[Any]:
        """A picture of one pixel."""
        return ["one pixel", Image(data=PIXEL, format="png")]

    @server.tool()
    async def slow(seconds: float) -> str:
        """Take a while."""
        note("slow")
        await asyncio.sleep(seconds)
        return "done"

    @server.tool()
    async def hang() -> str:
        """Stop answering anything."""
        note("hang")
        time.sleep(600)  # noqa: ASYNC251 - that is the point
        return "never"

    @server.tool()
    def die() -> str:
        """End the process in the middle of the call."""
        os._exit(3)

    @server.tool()
    def seen(context: Context[Any, Any]) -> dict[str, str | None]:
        """What the caller sent besides the arguments."""
        request = context.request_context.request
        headers = {} if request is None else dict(request.headers)
        return {
            "variable": os.environ.get("DEMO_KEY"),
            "home": os.environ.get("LETTA_SERVER_PASSWORD"),
            "authorization": headers.get("authorization"),
            "x-key": headers.get("x-key"),
        }

    @server.tool()
    def long(characters: int) -> str:
        """A long text."""
        return "x" * characters

    return server


def main() -> None:
    transport, port = sys.argv[1], int((sys.argv[2:] or ["0"])[0])
    (FOLDER / "pid").write_text(str(os.getpid()))
    server = served(port)
    if transport == "stdio":
        server.run("stdio")
    elif transport == "sse":
        server.run("sse", port=port)
    else:
        server.run("streamable-http", port=port)


if __name__ == "__main__":
    main()
