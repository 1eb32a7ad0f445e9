"""MCP servers and their tools: added, listed, called. What the API and the loop use of this package.

Puts the parts together: stored configurations, secrets, connections, listings, sign-ins.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Connection

from letta.errors import InvalidRequest, LettaError, McpFailed, McpSignInNeeded, McpTimeout
from letta.schemas.common import new_id
from letta.schemas.mcp_servers import McpHealth, McpRefresh, McpTool
from letta.store import agents, mcp_servers
from letta.store.access import Database
from letta.store.mcp_servers import StoredServer
from letta.store.vault import Vault
from letta.tools.context import Errand, ToolResult
from letta.tools.mcp import listing, target
from letta.tools.mcp.loader import library
from letta.tools.mcp.pool import Pool
from letta.tools.mcp.protocol import CALL_SECONDS, CONNECT_SECONDS, LIST_SECONDS, Link, Outcome, Wish
from letta.tools.mcp.sign_in import SignIn, SignIns
from letta.tools.mcp.target import HttpTarget, StdioTarget, Target
from letta.tools.mcp.tokens import TokenAuth, Tokens
from letta.tools.outbound import AddressUnknown, check_url

T = TypeVar("T")

FIRST_LIST_SECONDS = 20.0
"""How long adding or changing a server waits for its tools; after that it is there, and failing."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds to connect, to list the tools, and to call one; and what is allowed at all."""

    allow_private: bool
    allow_stdio: bool
    connect: float = CONNECT_SECONDS
    list: float = LIST_SECONDS
    call: float = CALL_SECONDS


class ToolServers:
    """The MCP servers of one running server. Close it with `aclose`."""

    def __init__(self, database: Database, vault: Vault, limits: Limits) -> None:
        self._database = database
        self._vault = vault
        self._limits = limits
        self._pool = Pool(limits.connect)
        self._tokens = Tokens(database, vault, allow_private=limits.allow_private)
        self._sign_ins = SignIns(self._tokens, self._signed_in)

    # -- configurations ------------------------------------------------------------------------------------------------

    async def check(self, config: Mapping[str, Any]) -> None:
        """Whether such a server may be added.

        Raises:
            letta.errors.InvalidRequest: commands are not allowed, or the address is not.
        """
        if config["mcp_server_type"] == "stdio":
            if not self._limits.allow_stdio:
                raise InvalidRequest(
                    "mcp_server_type: servers that are commands (stdio) are off, because they run with this server's "
                    "rights; LETTA_MCP_STDIO=true allows them"
                )
            return
        # With every secret in place, a header that cannot be sent shows itself.
        target.resolve(config, dict.fromkeys(target.secrets_named(config), "x"))
        url = config["server_url"]
        if "@" in url.partition("://")[2].partition("/")[0]:
            raise InvalidRequest("server_url: holds a name or password; use auth_token or custom_headers for those")
        if "{{" in url:
            return
        try:
            await check_url(url, allow_private=self._limits.allow_private)
        except AddressUnknown:
            # It may be known later; every connection looks again.
            return
        except InvalidRequest as error:
            raise InvalidRequest(f"server_url: {error.message}") from None

    async def add(self, name: str, config: Mapping[str, Any]) -> StoredServer:
        """Store a server and list its tools, if it answers.

        Raises:
            letta.errors.InvalidRequest: as `check`. letta.errors.Conflict: the name is taken.
        """
        await self.check(config)
        values = {"server_name": name, **self._columns(config)}
        return await self._listed(await self._database.write(mcp_servers.create, values))

    async def change(self, server_id: str, name: str | None, changes: Mapping[str, Any]) -> StoredServer:
        """Change a server's name or configuration; stars for a secret keep it.

        Raises:
            letta.errors.NotFound, and as `add`.
        """
        stored = await self._database.read(mcp_servers.get, server_id)
        config = self._changed(stored, changes)
        if changes:
            await self.check(config)
        columns = self._columns(config) if changes else {}
        changed = await self._database.write(_store_change, server_id, name, columns)
        if not changes:
            return changed
        self._pool.forget(server_id)
        return await self._listed(changed)

    async def remove(self, server_id: str) -> None:
        """Delete a server, its tools and its connections. Raises letta.errors.NotFound."""
        await self._database.write(mcp_servers.remove, server_id)
        self._pool.forget(server_id)

    def _columns(self, config: Mapping[str, Any]) -> dict[str, Any]:
        shown, secrets = target.split(config)
        return {
            "server_type": config["mcp_server_type"],
            "config": shown,
            "secrets": self._vault.lock(secrets) if secrets else None,
        }

    def _changed(self, stored: StoredServer, changes: Mapping[str, Any]) -> dict[str, Any]:
        kind = changes.get("mcp_server_type", stored.server_type)
        if (kind == "stdio") != (stored.server_type == "stdio"):
            raise InvalidRequest(
                f"config: {stored.server_name} is a server of type {stored.server_type}; add a new one for {kind}"
            )
        before = target.joined(stored.config, self._vault.open(stored.secrets))
        kept = {name: value for name, value in changes.items() if value is not None or name not in _ALWAYS}
        after = {**before, **kept, "mcp_server_type": kind}
        return _unstarred(after, before)

    # -- tools ---------------------------------------------------------------------------------------------------------

    async def refresh(self, server_id: str, agent_id: str | None = None) -> McpRefresh:
        """List the server's tools anew and store what is different.

        Raises:
            letta.errors.NotFound, letta.errors.McpFailed, letta.errors.InvalidRequest: secrets it needs are missing.
        """
        stored = await self._database.read(mcp_servers.get, server_id)
        return await self._refresh(stored, agent_id, self._limits.list)

    async def _refresh(self, stored: StoredServer, agent_id: str | None, seconds: float) -> McpRefresh:
        try:
            judge = (await library()).judge
            definitions = await self._use(stored, agent_id, lambda link: link.tools(), seconds, eager=True)
            judged, problems = await asyncio.to_thread(judge, definitions)
        except (McpFailed, InvalidRequest) as error:
            await self._database.write(mcp_servers.note_check, stored.id, error.message)
            raise
        refresh = await self._database.write(listing.store, stored.id, judged)
        if problems:
            refresh.quarantined[""] = problems
        return refresh

    async def _listed(self, stored: StoredServer) -> StoredServer:
        """The server after a first look at its tools. One that does not answer is kept; `health` says why."""
        try:
            async with asyncio.timeout(FIRST_LIST_SECONDS):
                await self._refresh(stored, None, self._limits.list)
        except TimeoutError:
            late = f"MCP server {stored.server_name} did not answer within {FIRST_LIST_SECONDS:g} s"
            await self._database.write(mcp_servers.note_check, stored.id, late)
        except (McpFailed, InvalidRequest):
            pass  # noted with the server, which is what was asked for
        return await self._database.read(mcp_servers.get, stored.id)

    async def call(
        self, tool_id: str, arguments: dict[str, Any], agent_id: str | None = None, seconds: float | None = None
    ) -> Outcome:
        """Run a tool on its server, for an agent whose secrets the server's configuration may name.

        Raises:
            letta.errors.NotFound: the tool belongs to no server. letta.errors.McpFailed: the server failed.
        """
        stored, name = await self._database.read(mcp_servers.origin, tool_id)
        limit = seconds or self._limits.call
        # The library's own limit comes first: it also tells the server that nobody waits any more.
        return await self._use(stored, agent_id, lambda link: link.call(name, arguments, limit), limit + 2)

    async def run(self, errand: Errand) -> ToolResult:
        """A call of the loop (`letta.tools.context.ErrandRunner`)."""
        outcome = await self.call(errand.tool.id, errand.arguments, errand.agent.id)
        return ToolResult(outcome.text, outcome.ok, images=outcome.images)

    async def try_out(self, name: str, config: Mapping[str, Any]) -> list[McpTool]:
        """The tools of a server that is not stored. Raises as `add` and `refresh`."""
        await self.check(config)
        trial = new_id("trial")
        wish = await self._wish(name, config, {})
        open_link = (await library()).open_link
        try:
            definitions = await self._pool.use(trial, wish, open_link, lambda link: link.tools(), self._limits.list)
        finally:
            self._pool.forget(trial)
        return await shown(definitions)

    async def tools(self, stored: StoredServer) -> list[McpTool]:
        """The tools as the server lists them now. Raises as `refresh`."""
        return await shown(await self._use(stored, None, lambda link: link.tools(), self._limits.list, eager=True))

    async def _use(
        self,
        stored: StoredServer,
        agent_id: str | None,
        work: Callable[[Link], Awaitable[T]],
        seconds: float,
        *,
        eager: bool = False,
    ) -> T:
        config = target.joined(stored.config, self._vault.open(stored.secrets))
        needs = target.secrets_named(config)
        locked = await self._database.read(agents.secrets, agent_id) if needs and agent_id else None
        wish = await self._wish(stored.server_name, config, self._vault.open(locked))
        if isinstance(wish.target, StdioTarget) and not self._limits.allow_stdio:
            raise McpFailed(f"MCP server {stored.server_name} is a command, which LETTA_MCP_STDIO does not allow")
        found = await library()
        try:
            return await self._pool.use(stored.id, wish, found.open_link, work, seconds, eager=eager)
        except LettaError as error:
            error.message = target.without_secrets(error.message, wish.target)
            raise

    async def _wish(self, name: str, config: Mapping[str, Any], secrets: Mapping[str, str]) -> Wish:
        aim: Target = target.resolve(config, secrets)
        auth = None
        if isinstance(aim, HttpTarget) and not target.authorizes(aim) and await self._tokens.load(aim.url):
            auth = TokenAuth(self._tokens, aim.url)
        return Wish(name, aim, self._limits.allow_private, auth)

    # -- sign-ins ------------------------------------------------------------------------------------------------------

    async def sign_in(self, name: str, config: Mapping[str, Any], redirect_uri: str) -> SignIn:
        """Begin a sign-in at a server; wait until there is an address to send a person to, or an end.

        Raises:
            letta.errors.InvalidRequest: as `add`, or for a server nobody can sign in at.
        """
        await self.check(config)
        wish = await self._wish(name, config, {})
        if not isinstance(wish.target, HttpTarget) or target.authorizes(wish.target):
            raise InvalidRequest("nobody can sign in at this server: it is a command, or has an Authorization header")
        sign_in = self._sign_ins.begin(wish, redirect_uri, (await library()).sign_in)
        try:
            async with asyncio.timeout(self._limits.connect + self._limits.list):
                await sign_in.begun.wait()
        except TimeoutError:
            raise McpTimeout(f"MCP server {name} did not answer in time") from None
        return sign_in

    def find_sign_in(self, sign_in_id: str) -> SignIn:
        """Raises letta.errors.NotFound."""
        return self._sign_ins.get(sign_in_id)

    def come_back(self, state: str, brought: dict[str, str | None], error: str | None) -> SignIn:
        """A browser came back from a sign-in. Raises letta.errors.NotFound."""
        return self._sign_ins.come_back(state, brought, error)

    async def _signed_in(self, url: str) -> None:
        """Use new tokens: connections without them are closed, and the tools listed again."""
        for stored in await self._database.read(mcp_servers.list_all):
            if stored.config.get("server_url") == url:
                self._pool.forget(stored.id)
                await self._listed(stored)

    async def sign_out(self, stored: StoredServer) -> None:
        """Forget the tokens for a server's address."""
        await self._tokens.forget(stored.config.get("server_url", ""))
        self._pool.forget(stored.id)

    def whole(self, stored: StoredServer) -> dict[str, Any]:
        """A server's configuration with its secrets. Not for answers."""
        return target.joined(stored.config, self._vault.open(stored.secrets))

    # -- state ---------------------------------------------------------------------------------------------------------

    def health(self, stored: StoredServer, tools: int) -> McpHealth:
        """How a server is, as far as this process knows."""
        health = McpHealth(error=stored.failure, checked_at=stored.checked_at, tools=tools)
        trouble = self._pool.trouble(stored.id)
        if self._pool.connected(stored.id):
            return health.model_copy(update={"state": "connected", "error": None})
        if trouble is not None:
            error, wait = trouble
            state = "sign_in_needed" if isinstance(error, McpSignInNeeded) else "failing"
            return health.model_copy(update={"state": state, "error": error.message, "retry_in": round(wait, 3)})
        state = "unknown" if stored.checked_at is None else "idle" if stored.failure is None else "failing"
        return health.model_copy(update={"state": state})

    async def aclose(self) -> None:
        """Close every connection and give up sign-ins that wait."""
        await self._sign_ins.aclose()
        await self._pool.aclose()


_ALWAYS = frozenset({"command", "args", "server_url", "mcp_server_type"})


def _store_change(connection: Connection, server_id: str, name: str | None, columns: dict[str, Any]) -> StoredServer:
    before = mcp_servers.get(connection, server_id, hold=True)
    values = {**columns, **({"server_name": name} if name else {})}
    if not values:
        return before
    after = mcp_servers.change(connection, server_id, values)
    if after.server_name != before.server_name:
        listing.rename(connection, after, before.server_name)
    return after


def _unstarred(config: dict[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """Stars are what answers show instead of a secret: written back, they mean the one there is."""
    if config.get("auth_token") == target.HIDDEN:
        config["auth_token"] = before.get("auth_token")
    for field in ("custom_headers", "env"):
        if config.get(field):
            known = before.get(field) or {}
            config[field] = {
                name: known.get(name, value) if value == target.HIDDEN else value
                for name, value in config[field].items()
            }
    return config


async def shown(definitions: list[dict[str, Any]]) -> list[McpTool]:
    """Definitions of a server as an answer shows them."""
    judged, _ = await asyncio.to_thread((await library()).judge, definitions)
    return [one.shown for one in judged]
