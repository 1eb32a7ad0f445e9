"""The way from inside a sandbox to the server's API: the `client` a tool finds, an official client on one socket.

Runs inside. The socket is open already and leads to the server and nowhere else, so this needs no network and no
password. Each request is a frame: four bytes of length, a JSON head, four bytes of length, the body. So is each
answer.
"""

import json
import os
import socket
import struct
import threading
from typing import Any

from letta.tools.sandbox.texts import load

_LENGTH = struct.Struct("!I")

_CLIENT = """
import httpx
from letta_client import Letta


class Transport(httpx.BaseTransport):
    def handle_request(self, request):
        status, headers, body = exchange(
            request.method, request.url.raw_path.decode(), dict(request.headers), request.read()
        )
        return httpx.Response(status, headers=headers, content=body, request=request)


client = Letta(
    base_url="http://letta.sandbox",
    api_key="none",
    max_retries=0,
    http_client=httpx.Client(transport=Transport()),
)
"""


class Client:
    """Becomes the official client when it is first used: that takes too long to do for tools that never use it."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor
        self._made: Any = None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if self._made is None:
            self._made = _connected(self._descriptor)
        return getattr(self._made, name)

    def __repr__(self) -> str:
        return "<the client of this server>"


def client_on(descriptor: int | None) -> Client:
    """A client for this socket; without one it says so when it is used."""
    return Client(descriptor)


def _connected(descriptor: int | None) -> Any:
    if descriptor is None:
        raise RuntimeError("the server's API cannot be reached from here")
    exchange = _Exchange(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, fileno=os.dup(descriptor)))
    return load("letta_tool_client", "client.py", _CLIENT, exchange=exchange).client


class _Exchange:
    """One request after the other, from whichever thread."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._turn = threading.Lock()

    def __call__(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        head = json.dumps({"method": method, "path": path, "headers": headers}).encode()
        with self._turn:
            self._connection.sendall(_LENGTH.pack(len(head)) + head + _LENGTH.pack(len(body)) + body)
            answer = json.loads(self._frame())
            return answer["status"], answer["headers"], self._frame()

    def _frame(self) -> bytes:
        return self._exactly(_LENGTH.unpack(self._exactly(_LENGTH.size))[0])

    def _exactly(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            piece = self._connection.recv(min(size - len(data), 1 << 16))
            if not piece:
                raise ConnectionError("the server closed the connection")
            data += piece
        return bytes(data)
