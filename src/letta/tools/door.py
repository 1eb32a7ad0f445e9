"""What tools may ask of this server's API: everything but what would let them out of their sandbox.

A tool's `client` sends its requests through a socket that ends here. They go on to the application in this process,
with the server's own password, which the tool never sees.
"""

import asyncio
import json
import re
import socket
import struct
from collections.abc import Mapping

import httpx2

_LENGTH = struct.Struct("!I")
_LARGEST = 32 << 20
_READING = frozenset({"GET", "HEAD"})
_KEPT = frozenset({"content-type", "accept"})

# Whoever may write tools, run them, or connect servers and providers, can do all that this server can.
_CLOSED = re.compile(
    r"/v1/(?:tools|mcp-servers|providers|sandbox-config|git|agents/import|agents/[^/]+/tools/(?!attach|detach)[^/]+)(?:/.*)?"
)
_SEARCHES = frozenset({"/v1/tools/search"})


class Door:
    """Serves sockets with the answers of an application. `client` reaches it; `password` is added to every request."""

    def __init__(self, client: httpx2.AsyncClient, password: str | None) -> None:
        self._client = client
        self._headers = {"authorization": f"Bearer {password}"} if password else {}

    async def serve(self, connection: socket.socket) -> None:
        """Answer requests until the socket is closed."""
        loop = asyncio.get_running_loop()
        while (head := await _frame(loop, connection)) is not None:
            body = await _frame(loop, connection) or b""
            status, headers, answer = await self._answer(json.loads(head), body)
            told = json.dumps({"status": status, "headers": headers}).encode()
            await loop.sock_sendall(connection, _LENGTH.pack(len(told)) + told + _LENGTH.pack(len(answer)) + answer)

    async def _answer(self, head: Mapping[str, object], body: bytes) -> tuple[int, dict[str, str], bytes]:
        method, path = str(head.get("method")).upper(), str(head.get("path"))
        refusal = refused(method, path)
        if refusal is not None:
            return 403, {"content-type": "application/json"}, json.dumps({"detail": refusal}).encode()
        given = head.get("headers")
        kept = (
            {name: str(value) for name, value in given.items() if name.lower() in _KEPT}
            if isinstance(given, dict)
            else {}
        )
        answer = await self._client.request(method, path, content=body, headers={**kept, **self._headers})
        return (
            answer.status_code,
            {"content-type": answer.headers.get("content-type", "application/json")},
            answer.content,
        )


def refused(method: str, path: str) -> str | None:
    """Why a tool may not ask this, or None when it may."""
    plain = re.sub(r"/+", "/", path.partition("?")[0]).rstrip("/")
    if not plain.startswith("/v1/") or "%" in plain or "/." in plain:
        return "tools may use paths below /v1/ only, written plainly"
    if method in _READING or plain in _SEARCHES or not _CLOSED.fullmatch(plain):
        return None
    return f"{method} {plain} is closed to tools: it would let them run code outside of their sandbox"


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
