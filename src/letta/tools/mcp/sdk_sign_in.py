"""Signing in at an MCP server as OAuth 2.1 wants it: discovery, registration, PKCE, the exchange of the code.

The official library does the steps; here they are given a browser to send away and a code to wait for.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from mcp.client.auth import OAuthClientProvider
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientInformationFull, OAuthClientMetadata, OAuthToken
from pydantic import AnyUrl

from letta.tools.mcp.protocol import Wish
from letta.tools.mcp.sdk import open_link
from letta.tools.mcp.target import HttpTarget
from letta.tools.mcp.tokens import token_values


class _Memory:
    """Where the library puts what it gets. What is kept for longer, `sign_in` takes from it."""

    def __init__(self) -> None:
        self._tokens: OAuthToken | None = None
        self._client: OAuthClientInformationFull | None = None

    async def get_tokens(self) -> OAuthToken | None:
        return self._tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self._tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self._client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self._client = client_info


async def sign_in(
    wish: Wish,
    redirect_uri: str,
    send_away: Callable[[str], Awaitable[None]],
    come_back: Callable[[], Awaitable[dict[str, str | None]]],
) -> tuple[dict[str, str], list[dict[str, Any]]]:
    """Connect, and where the server asks for it let a person sign in.

    `send_away` is given the address for the browser, `come_back` answers the `code`, `state` and `iss` it came back
    with.

    Returns the token values to keep (see `letta.tools.mcp.tokens`; none when nobody had to sign in) and the tools.

    Raises:
        letta.errors.McpFailed: it did not work.
    """
    assert isinstance(wish.target, HttpTarget), "only servers reached over HTTP ask for a sign-in"

    async def answered() -> AuthorizationCodeResult:
        return AuthorizationCodeResult.model_validate(await come_back())

    provider = OAuthClientProvider(
        server_url=wish.target.url,
        client_metadata=OAuthClientMetadata(
            client_name="open-letta",
            redirect_uris=[AnyUrl(redirect_uri)],
            application_type="native" if AnyUrl(redirect_uri).host in ("localhost", "127.0.0.1", "[::1]") else "web",
        ),
        storage=_Memory(),
        redirect_handler=send_away,
        callback_handler=answered,
    )
    async with open_link(replace(wish, auth=provider)) as link:
        tools = await link.tools()
        return _values(provider), tools


def _values(provider: OAuthClientProvider) -> dict[str, str]:
    context = provider.context
    if context.current_tokens is None or context.client_info is None:
        return {}
    client, metadata = context.client_info, context.oauth_metadata
    base = context.get_authorization_base_url(context.server_url)
    values = token_values(context.current_tokens.model_dump())
    values["token_endpoint"] = str(metadata.token_endpoint) if metadata else f"{base}/token"
    values["client_id"] = str(client.client_id)
    values["client_secret"] = client.client_secret or ""
    values["auth_method"] = client.token_endpoint_auth_method or ""
    values["resource"] = context.get_resource_url() if context.protocol_version else ""
    return values
