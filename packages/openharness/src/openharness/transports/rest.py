"""The HTTP transport: JSON requests, event streams, downloads and uploads over httpx.

Every failure leaves as a `TransportError`, in streams too. Redirects are followed. Knows nothing of the API's routes.
"""

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx
from httpx_sse import EventSource, SSEError

from openharness.transports.base import AuthenticationError, ConnectionError, RateLimitError, Transport, TransportError


class RestTransport(Transport):
    """Reaches an OpenHarness server over HTTP. The connection pool is opened at the first request."""

    def __init__(
        self,
        base_url: str,
        api_key: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 30.0,
    ) -> None:
        super().__init__(base_url, api_key, headers, timeout)
        self._client: httpx.AsyncClient | None = None

    @property
    def client(self) -> httpx.AsyncClient:
        """The httpx client in use."""
        if self._client is None:
            # Content-Type is left to each request: a default here would overwrite the boundary of a multipart body.
            standing = {name: value for name, value in self.headers.items() if name.lower() != "content-type"}
            self._client = httpx.AsyncClient(
                base_url=self.base_url,
                headers=standing,
                timeout=httpx.Timeout(self.timeout),
                follow_redirects=True,
            )
        return self._client

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
        with _failures_explained():
            response = await self.client.request(
                method,
                path,
                params=params or None,
                json=json_data,
                content=data,
                headers=self._content_headers(json_data, data, headers),
            )
        _refuse_errors(response)
        return _parsed(response)

    async def stream(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        json_data: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> AsyncIterator[dict[str, Any]]:
        """Yield the data of each event; data that is no JSON object comes as `{"type": "raw", "data": ...}`."""
        sent = {
            "Accept": "text/event-stream",
            "Cache-Control": "no-store",
            **self._content_headers(json_data, None, headers),
        }
        with _failures_explained():
            async with self.client.stream(
                method, path, params=params or None, json=json_data, headers=sent
            ) as response:
                if response.is_error:
                    await response.aread()
                    _refuse_errors(response)
                async for event in EventSource(response).aiter_sse():
                    if event.data:
                        yield _event_data(event.data)

    async def download(
        self,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> bytes:
        return await self.fetch("GET", path, params=params, headers=headers)

    async def fetch(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> bytes:
        with _failures_explained():
            response = await self.client.request(method, path, params=params or None, headers=headers)
        _refuse_errors(response)
        return response.content

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
        with _failures_explained():
            response = await self.client.post(
                path, files={"file": (filename, file_content, content_type)}, params=params or None, headers=headers
            )
        _refuse_errors(response)
        return _parsed(response)

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    def _content_headers(self, json_data: Any, data: Any, headers: Mapping[str, str] | None) -> dict[str, str]:
        own = {name: value for name, value in self.headers.items() if name.lower() == "content-type"}
        if json_data is None and data is None:
            own = {}
        return {**own, **(headers or {})}


@contextmanager
def _failures_explained() -> Iterator[None]:
    try:
        yield
    except httpx.ConnectError as error:
        raise ConnectionError(f"Failed to connect: {error}") from error
    except httpx.TimeoutException as error:
        raise TransportError(f"Request timed out: {str(error) or type(error).__name__}") from error
    except SSEError as error:
        raise TransportError(f"The answer is not an event stream: {error}") from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise TransportError(f"The exchange broke off: {str(error) or type(error).__name__}") from error


def _refuse_errors(response: httpx.Response) -> None:
    if not response.is_error:
        return
    body = _body(response)
    if response.status_code == 401:
        raise AuthenticationError("Authentication failed", status_code=401, body=body)
    if response.status_code == 429:
        raise RateLimitError(
            "Rate limit exceeded", retry_after=_seconds(response.headers.get("Retry-After")), body=body
        )
    raise TransportError(
        f"Request failed with status {response.status_code}", status_code=response.status_code, body=body
    )


def _body(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError:
        return response.text


def _parsed(response: httpx.Response) -> Any:
    if response.status_code == 204 or not response.content:
        return None
    try:
        return response.json()
    except ValueError as error:
        raise TransportError(
            f"The answer to {response.request.method} {response.request.url.path} is not JSON",
            status_code=response.status_code,
            body=response.text,
        ) from error


def _event_data(data: str) -> dict[str, Any]:
    try:
        parsed = json.loads(data)
    except ValueError:
        return {"type": "raw", "data": data}
    return parsed if isinstance(parsed, dict) else {"type": "raw", "data": data}


def _seconds(header: str | None) -> int | None:
    # The header may also be a date, which is no number of seconds.
    return int(header) if header and header.isdigit() else None
