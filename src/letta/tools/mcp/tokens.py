"""Tokens for MCP servers that a person has signed in at: kept encrypted, sent with every request, renewed in time.

One set per address, whoever's call it is. Knows how to renew a token, not how to get the first one.
"""

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import AsyncGenerator
from typing import Any

import httpx2

from letta.store import mcp_servers
from letta.store.access import Database
from letta.store.vault import Vault
from letta.tools.outbound import guarded_client

log = logging.getLogger(__name__)

RENEW_SECONDS = 60.0
"""How long before its end a token is renewed."""

_REQUEST_SECONDS = 20.0


class Tokens:
    """What is known of every address. Values are texts; `expires_at` is in seconds since 1970."""

    def __init__(self, database: Database, vault: Vault, *, allow_private: bool) -> None:
        self._database = database
        self._vault = vault
        self._allow_private = allow_private
        self._known: dict[str, dict[str, str]] = {}
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def load(self, url: str) -> bool:
        """Read what is stored for an address; whether there is anything."""
        locked = await self._database.read(mcp_servers.tokens, url)
        self._known[url] = self._vault.open(locked)
        return bool(self._known[url])

    async def keep(self, url: str, values: dict[str, str]) -> None:
        """Store tokens for an address, instead of what there was."""
        self._known[url] = values
        await self._database.write(mcp_servers.keep_tokens, url, self._vault.lock(values))

    async def forget(self, url: str) -> None:
        """Delete the tokens of an address."""
        self._known.pop(url, None)
        await self._database.write(mcp_servers.forget_tokens, url)

    async def current(self, url: str) -> str | None:
        """A token that is good for a while yet; None when there is none."""
        known = self._known.get(url) or {}
        ends = float(known.get("expires_at") or 0)
        if ends and ends - RENEW_SECONDS < time.time() and known.get("refresh_token"):
            return await self.renewed(url, known.get("access_token"))
        return known.get("access_token")

    async def renewed(self, url: str, refused: str | None) -> str | None:
        """Another token than the one that was refused; None when a person has to sign in again."""
        async with self._turns[url]:
            # Another call, or another process, may have renewed it meanwhile.
            await self.load(url)
            known = self._known[url]
            if known.get("access_token") not in (None, refused):
                return known["access_token"]
            if not known.get("refresh_token") or not known.get("token_endpoint"):
                return None
            answer = await self._ask(known)
            if answer is None:
                return None
            await self.keep(url, {**known, **answer})
            return answer["access_token"]

    async def _ask(self, known: dict[str, str]) -> dict[str, str] | None:
        """Renew at the authorization server; None when it refuses or cannot be reached."""
        form = {"grant_type": "refresh_token", "refresh_token": known["refresh_token"], "client_id": known["client_id"]}
        if known.get("resource"):
            form["resource"] = known["resource"]
        secret, basic = known.get("client_secret"), known.get("auth_method") == "client_secret_basic"
        if secret and not basic:
            form["client_secret"] = secret
        auth = httpx2.BasicAuth(known["client_id"], secret) if secret and basic else httpx2.Auth()
        try:
            async with guarded_client(allow_private=self._allow_private, timeout=_REQUEST_SECONDS) as client:
                response = await client.post(known["token_endpoint"], data=form, auth=auth)
                answer = response.json() if response.status_code == 200 else {}
        except (httpx2.HTTPError, ValueError) as error:
            log.warning("a token could not be renewed at %s: %s", known["token_endpoint"], error)
            return None
        if not isinstance(answer, dict) or not isinstance(answer.get("access_token"), str):
            log.warning("%s refuses to renew a token (HTTP %s)", known["token_endpoint"], response.status_code)
            return None
        return token_values(answer)


def token_values(answer: dict[str, Any]) -> dict[str, str]:
    """What of an authorization server's answer is kept."""
    values = {"access_token": str(answer["access_token"]), "expires_at": ""}
    if answer.get("expires_in"):
        values["expires_at"] = str(time.time() + float(answer["expires_in"]))
    if answer.get("refresh_token"):
        values["refresh_token"] = str(answer["refresh_token"])
    return values


class TokenAuth(httpx2.Auth):
    """Sends the token of an address; a refused one is renewed once. Without a token, requests go as they are."""

    def __init__(self, tokens: Tokens, url: str) -> None:
        self._tokens = tokens
        self._url = url

    async def async_auth_flow(self, request: httpx2.Request) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        token = await self._tokens.current(self._url)
        if token is None:
            yield request
            return
        request.headers["Authorization"] = f"Bearer {token}"
        response = yield request
        if response.status_code != 401:
            return
        newer = await self._tokens.renewed(self._url, token)
        if newer is not None:
            request.headers["Authorization"] = f"Bearer {newer}"
            yield request
