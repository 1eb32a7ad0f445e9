"""What every transport offers, and the errors it raises.

Error tree:

    TransportError              the server refused, its answer cannot be used, or the exchange broke off
    ├── ConnectionError         the server could not be reached
    ├── AuthenticationError     the server does not accept the key (401)
    └── RateLimitError          the server asks to come back later (429)

Knows nothing of HTTP libraries or of the API's routes.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Any, TypeVar

TransportT = TypeVar("TransportT", bound="Transport")


class TransportError(Exception):
    """The server refused a request, its answer cannot be used, or the exchange broke off.

    `status_code` is the HTTP status if there was an answer, `body` its parsed JSON or its text.
    """

    def __init__(self, message: str, status_code: int | None = None, body: Any = None) -> None:
        super().__init__(message)
        self.message = message
        self.status_code = status_code
        self.body = body


class ConnectionError(TransportError):
    """The server could not be reached. (Shadows the builtin of that name, as the public SDK does.)"""


class AuthenticationError(TransportError):
    """The server does not accept the API key."""


class RateLimitError(TransportError):
    """The server asks to come back later, after `retry_after` seconds if it said so."""

    def __init__(self, message: str, retry_after: int | None = None, body: Any = None) -> None:
        super().__init__(message, status_code=429, body=body)
        self.retry_after = retry_after


class Transport(ABC):
    """Carries requests to one server. Usable as an async context manager that closes on exit.

    `timeout` is in seconds. `headers` go out with every request, after `Authorization` (if there is a key) and a
    `Content-Type` of JSON, which multipart uploads replace.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 30.0,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self.api_key = api_key
        self.timeout = timeout
        self.headers = {"Content-Type": "application/json"}
        if api_key:
            self.headers["Authorization"] = f"Bearer {api_key}"
        self.headers.update(headers or {})

    @abstractmethod
    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        json_data: Any = None,
        data: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Send one request and answer the parsed JSON, or `None` where the server sends no content."""

    @abstractmethod
    def stream(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        json_data: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> AsyncIterator[dict[str, Any]]:
        """Send one request and yield the JSON objects of its event stream."""

    @abstractmethod
    async def download(
        self,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> bytes:
        """Fetch a binary body."""

    async def fetch(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> bytes:
        """Send one request with any method and answer the bytes of the body.

        A transport that cannot do so for anything but GET sends the request all the same and answers no bytes.
        """
        if method.upper() == "GET":
            return await self.download(path, params=params, headers=headers)
        await self.request(method, path, params=params, headers=headers)
        return b""

    @abstractmethod
    async def upload(
        self,
        path: str,
        file_content: bytes,
        filename: str,
        *,
        content_type: str = "application/octet-stream",
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Send a file as the multipart field `file` and answer the parsed JSON."""

    @abstractmethod
    async def close(self) -> None:
        """Let go of every connection. The transport may be used again afterwards."""

    async def __aenter__(self: TransportT) -> TransportT:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()
