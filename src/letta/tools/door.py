"""What tools may ask of this server's API: everything but what would let them out of their sandbox.

A tool's `client` sends its requests through a socket that ends here. They go on to the application in this process,
with the server's own password, which the tool never sees. What is allowed is decided by the path that the application
is given, after all decoding: two readers of one address might not read the same.
"""

import asyncio
import json
import re
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from contextvars import ContextVar
from typing import Any

import httpx2

App = Callable[[MutableMapping[str, Any], Any, Any], Awaitable[None]]

WAITING: ContextVar[tuple[str, ...]] = ContextVar("waiting", default=())
"""The agents and conversations that wait for the tool whose request is answered; none outside of such a request."""

_LENGTH = struct.Struct("!I")
_LARGEST = 32 << 20
_READING = frozenset({"GET", "HEAD"})
_KEPT = frozenset({"content-type", "accept"})

# Whoever may write tools, run them, or connect servers and providers, can do all that this server can.
_CLOSED = re.compile(
    r"/v1/(?:tools|mcp-servers|providers|sandbox-config|git|agents/import|agents/[^/]+/tools/(?!attach|detach)[^/]+)(?:/.*)?",
    re.DOTALL | re.IGNORECASE,
)
_SEARCHES = frozenset({"/v1/tools/search"})
_WAITS = re.compile(r"/v1/(?:agents|conversations)/([^/]+)/messages(?:/stream)?")


class Door:
    """Serves sockets with the answers of an application. `password` is added to every request."""

    def __init__(self, app: App, password: str | None) -> None:
        transport = httpx2.ASGITransport(_guarded(app), raise_app_exceptions=False)
        self._client = httpx2.AsyncClient(transport=transport, base_url="http://letta.sandbox", timeout=None)
        self._headers = {"authorization": f"Bearer {password}"} if password else {}

    async def serve(self, connection: socket.socket, waiting: tuple[str, ...] = ()) -> None:
        """Answer requests until the socket is closed; `waiting` are who waits for the tool that sends them."""
        loop = asyncio.get_running_loop()
        WAITING.set(waiting)
        try:
            while (head := await _frame(loop, connection)) is not None:
                body = await _frame(loop, connection) or b""
                status, headers, answer = await self._answer(json.loads(head), body)
                told = json.dumps({"status": status, "headers": headers}).encode()
                await loop.sock_sendall(connection, _LENGTH.pack(len(told)) + told + _LENGTH.pack(len(answer)) + answer)
        finally:
            # A tool that waits for an answer must not wait for ever.
            connection.close()

    async def _answer(self, head: Mapping[str, object], body: bytes) -> tuple[int, dict[str, str], bytes]:
        if _asks_for_a_callback(body):
            return _refusal(403, "callback_url is closed to tools: the server would reach the network for them")
        given = head.get("headers")
        kept = (
            {name: str(value) for name, value in given.items() if name.lower() in _KEPT}
            if isinstance(given, dict)
            else {}
        )
        method, path = str(head.get("method")).upper(), str(head.get("path"))
        try:
            request = self._client.build_request(method, path, content=body, headers={**kept, **self._headers})
        except (httpx2.InvalidURL, ValueError) as error:
            return _refusal(400, f"{path!r} is no address: {error}")
        answer = await self._client.send(request)
        kind = answer.headers.get("content-type", "application/json")
        return answer.status_code, {"content-type": kind}, answer.content


def refused(method: str, path: str) -> tuple[int, str] | None:
    """The status and the reason why a tool may not ask this, or None when it may. `path` is without escapes."""
    parts = [part for part in path.split("/") if part]
    plain = "/" + "/".join(parts)
    if not path.startswith("/v1/") or {".", ".."}.intersection(parts):
        return 403, "tools may use paths below /v1/ only"
    if (sent := _WAITS.fullmatch(plain)) and method == "POST" and sent[1] in WAITING.get():
        return 409, (
            f"{sent[1]} waits for this tool, so it cannot answer it: return first, or send with messages/async, "
            "which is worked on afterwards"
        )
    if method in _READING or plain in _SEARCHES or not _CLOSED.fullmatch(plain):
        return None
    return 403, f"{method} {plain} is closed to tools: it would let them run code outside of their sandbox"


def _guarded(app: App) -> App:
    async def guard(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        refusal = refused(scope["method"], scope["path"])
        if refusal is None:
            await app(scope, receive, send)
            return
        status, headers, body = _refusal(*refusal)
        told = [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": told})
        await send({"type": "http.response.body", "body": body})

    return guard


def _refusal(status: int, reason: str) -> tuple[int, dict[str, str], bytes]:
    return status, {"content-type": "application/json"}, json.dumps({"detail": reason}).encode()


def _asks_for_a_callback(body: bytes) -> bool:
    found: list[object] = []

    def look(pairs: list[tuple[str, object]]) -> dict[str, object]:
        # Pair by pair, because a name may stand there twice.
        found.extend(value for name, value in pairs if name == "callback_url")
        return dict(pairs)

    try:
        json.loads(body, object_pairs_hook=look)
    except (ValueError, RecursionError):
        return False  # what is no JSON is no message either: the application says so
    return any(found)


async def _frame(loop: asyncio.AbstractEventLoop, connection: socket.socket) -> bytes | None:
    """The next frame; None when the other side is gone, or sends what is no frame."""
    length = await _exactly(loop, connection, _LENGTH.size)
    if length is None:
        return None
    size: int = _LENGTH.unpack(length)[0]
    return await _exactly(loop, connection, size) if size <= _LARGEST else None


async def _exactly(loop: asyncio.AbstractEventLoop, connection: socket.socket, size: int) -> bytes | None:
    data = bytearray()
    while len(data) < size:
        piece = await loop.sock_recv(connection, min(size - len(data), 1 << 16))
        if not piece:
            return None
        data += piece
    return bytes(data)
