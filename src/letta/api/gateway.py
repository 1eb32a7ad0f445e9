"""What happens to every request before routing: the password, older path forms.

A plain ASGI layer, because it must not get between a stream and its reader.
"""

import hmac
import ipaddress
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from fastapi.responses import JSONResponse

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

# The last is where a browser comes back to from a sign-in, known by the secret `state` it brings.
_OPEN = frozenset({"/v1/health", "/v1/ready", "/", "/v1/tools/mcp/oauth/callback"})
_LATEST = "/latest"


class Gateway:
    """Lets requests through that carry the password, if there is one, and brings their paths to one form.

    `/v1/agents/` is `/v1/agents`, and everything under `/latest` is under `/v1`: both are answered directly, because a
    redirect would lose the body of a POST with some clients.

    With `own_names_only`, a request must call the server by a name of this machine or an IP address. That is for a
    server without a password: a website could point its own name at this machine, for a visitor's browser to call.
    With `metrics_public`, metrics are read without the password.
    """

    def __init__(
        self, app: App, password: str | None, *, own_names_only: bool = False, metrics_public: bool = False
    ) -> None:
        self._app = app
        self._own_names_only = own_names_only
        self._open = _OPEN | {"/metrics"} if metrics_public else _OPEN
        self._password = password.encode() if password else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path: str = scope["path"]
            if path.startswith(f"{_LATEST}/"):
                path = f"/v1{path.removeprefix(_LATEST)}"
            scope["path"] = path.rstrip("/") or "/"
            scope["raw_path"] = scope["path"].encode()
            if b"%00" in scope.get("query_string", b"") or "\x00" in path:
                await JSONResponse({"detail": "the address holds a NUL character (%00)"}, 422)(scope, receive, send)
                return
            if self._own_names_only and not _is_own_name(scope):
                detail = (
                    "this server has no password and answers to localhost and IP addresses only: see docs/settings.md"
                )
                await JSONResponse({"detail": detail}, 403)(scope, receive, send)
                return
            if not self._allowed(scope):
                await JSONResponse({"detail": "Unauthorized"}, 401)(scope, receive, send)
                return
        elif scope["type"] == "websocket" and self._password is not None:
            # There is no socket in this API, and one that is added must ask for the password first.
            await send({"type": "websocket.close", "code": 1008})
            return
        await self._app(scope, receive, send)

    def _allowed(self, scope: Scope) -> bool:
        # A browser asks with OPTIONS before it may send the password.
        if self._password is None or scope["path"] in self._open or scope["method"] == "OPTIONS":
            return True
        headers = {name: value for name, value in scope["headers"] if name in (b"authorization", b"x-bare-password")}
        bearer = headers.get(b"authorization", b"")
        bare = headers.get(b"x-bare-password", b"")
        return _same(bearer, b"bearer ", self._password) or _same(bare, b"password ", self._password)


def _is_own_name(scope: Scope) -> bool:
    host = next((value for name, value in scope["headers"] if name == b"host"), b"").decode("latin-1").lower()
    name = host.rpartition("]")[0].lstrip("[") if host.startswith("[") else host.partition(":")[0]
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _same(header: bytes, prefix: bytes, password: bytes) -> bool:
    return header[: len(prefix)].lower() == prefix and hmac.compare_digest(header[len(prefix) :].strip(), password)
