"""The WebSocket transport: JSON objects both ways over one connection. Knows nothing of what they mean."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from types import TracebackType
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from openharness.transports.base import ConnectionError, TransportError


class WebSocketTransport:
    """A connection to the WebSocket at `url`. As an async context manager it connects and disconnects by itself."""

    def __init__(self, url: str, api_key: str | None = None, headers: Mapping[str, str] | None = None) -> None:
        self.url = url
        self.api_key = api_key
        self.headers = dict(headers or {})
        if api_key:
            self.headers["Authorization"] = f"Bearer {api_key}"
        self._socket: ClientConnection | None = None

    @property
    def connected(self) -> bool:
        """Whether messages can be sent now."""
        return self._socket is not None

    async def connect(self) -> None:
        """Open the connection.

        Raises:
            ConnectionError: the server cannot be reached or refuses the connection.
        """
        try:
            self._socket = await connect(self.url, additional_headers=self.headers)
        except (OSError, asyncio.TimeoutError, WebSocketException, ValueError) as error:
            raise ConnectionError(f"Failed to connect: {error}") from error

    async def disconnect(self) -> None:
        """Close the connection. Does nothing if there is none."""
        socket, self._socket = self._socket, None
        if socket is not None:
            await socket.close()

    async def send(self, data: dict[str, Any]) -> None:
        """Send one JSON object.

        Raises:
            TransportError: there is no connection, or it was lost.
        """
        socket = self._open()
        try:
            await socket.send(json.dumps(data))
        except ConnectionClosed as error:
            self._socket = None
            raise TransportError(f"Failed to send: {error}") from error

    async def receive(self) -> dict[str, Any]:
        """Wait for the next JSON object.

        Raises:
            TransportError: there is no connection, it was lost, or the message is not a JSON object.
        """
        socket = self._open()
        try:
            message = await socket.recv()
        except ConnectionClosed as error:
            self._socket = None
            raise TransportError(f"Failed to receive: {error}") from error
        return _parsed(message)

    async def listen(self) -> AsyncIterator[dict[str, Any]]:
        """Yield JSON objects until the connection ends."""
        socket = self._open()
        try:
            while True:
                yield _parsed(await socket.recv())
        except ConnectionClosed:
            self._socket = None

    async def request_response(
        self,
        request: dict[str, Any],
        response_filter: Callable[[dict[str, Any]], bool] | None = None,
    ) -> dict[str, Any]:
        """Send `request` and answer the first message that `response_filter` accepts (any, without a filter).

        Raises:
            TransportError: the connection ended first.
        """
        await self.send(request)
        while True:
            message = await self.receive()
            if response_filter is None or response_filter(message):
                return message

    async def __aenter__(self) -> "WebSocketTransport":
        await self.connect()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.disconnect()

    def _open(self) -> ClientConnection:
        if self._socket is None:
            raise TransportError("Not connected")
        return self._socket


def _parsed(message: str | bytes) -> dict[str, Any]:
    try:
        parsed = json.loads(message)
    except ValueError as error:
        raise TransportError(f"The message is not JSON: {error}", body=message) from error
    if not isinstance(parsed, dict):
        raise TransportError("The message is not a JSON object", body=parsed)
    return parsed
