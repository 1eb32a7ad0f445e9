"""One provider's HTTP endpoint: pooled connections, server-sent events, retries.

Knows how to send bytes and read events. What they mean is the provider file's business; which error a refusal is,
`letta.models.failures` decides.
"""

import asyncio
import random
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from functools import lru_cache
from typing import Any
from urllib.request import getproxies

import httpx2

from letta.errors import InvalidRequest, ModelBadRequest, ModelCutOff, ModelError, ModelTimeout, ModelUnreachable
from letta.models import encoding, failures
from letta.models.protocol import ModelEvent
from letta.models.transport import DirectTransport

CONNECT_SECONDS = 10.0
READ_SECONDS = 600.0
LOCAL_READ_SECONDS = 1800.0  # a local server may load the model, then read a long prompt on a CPU
LONGEST_WAIT_SECONDS = 30.0
DRAIN_SECONDS = 0.5
LISTING_SECONDS = 20.0

Sleep = Callable[[float], Awaitable[None]]


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    # Reading the certificates costs tens of milliseconds: once per process, not once per provider.
    return httpx2.create_ssl_context()


class Endpoint:
    """A base URL with its headers. One object is shared by every call to the provider.

    Args:
        base_url: absolute, http or https, without a trailing slash.
        provider: the name that error messages give.
        headers: sent with every request; they hold the API key and are never shown.
        secret: the API key, taken out of every text that comes back from the provider.
        read_seconds: how long the provider may stay silent; None chooses 600 s, or 1800 s on this machine.

    Raises:
        InvalidRequest: `base_url` is not a URL of that form.
    """

    def __init__(
        self,
        base_url: str,
        provider: str,
        headers: Mapping[str, str],
        *,
        secret: str | None = None,
        read_seconds: float | None = None,
    ) -> None:
        try:
            url = httpx2.URL(base_url)
        except httpx2.InvalidURL as error:
            raise InvalidRequest(f"base_url {base_url!r} of {provider} is not a URL: {error}") from error
        if url.scheme not in ("http", "https") or not url.host:
            raise InvalidRequest(f"base_url {base_url!r} of {provider} must start with http:// or https:// and a host")
        self.base_url = base_url
        self.provider = provider
        self.place = f"{url.scheme}://{url.netloc.decode('ascii')}"
        self.on_this_machine = url.host in ("localhost", "127.0.0.1", "::1", "host.docker.internal")
        self._secret = secret
        read = read_seconds or (LOCAL_READ_SECONDS if self.on_this_machine else READ_SECONDS)
        self._client = httpx2.AsyncClient(
            headers={"Accept-Encoding": "identity", "User-Agent": "open-letta", **headers},
            timeout=httpx2.Timeout(read, connect=CONNECT_SECONDS, pool=None),
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=100, keepalive_expiry=60.0),
            verify=_tls(),
            # A proxy cannot reach this machine's own servers.
            transport=DirectTransport(_tls()) if self.on_this_machine or not getproxies() else None,
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.provider!r}, {self.place!r})"

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    @asynccontextmanager
    async def post(self, path: str, body: bytes, headers: Mapping[str, str] | None = None) -> AsyncIterator["Reply"]:
        """Send JSON bytes; the reply is open, and leaving the block aborts what is still to come of it.

        Raises:
            ModelError: its leaves, for a refusal, a failure, or no connection.
        """
        request = self._client.build_request(
            "POST", self.base_url + path, content=body, headers={"Content-Type": "application/json", **(headers or {})}
        )
        try:
            response = await self._client.send(request, stream=True)
        except httpx2.RequestError as error:
            raise self._unreachable(error) from error
        try:
            if response.status_code != 200:
                raise await self._refused(response)
            if response.headers.get("content-type", "").lower().startswith("text/html"):
                raise ModelBadRequest(
                    f"{self.provider}: {response.url.path} at {self.place} answered with text/html instead of JSON or "
                    "an event stream; is the base URL right?"
                )
            yield Reply(self, response)
        finally:
            await response.aclose()

    async def fetch(self, url: str, *, body: Any = None) -> Any:
        """The JSON of a short request: GET `url`, or POST it with `body`. Raises ModelError."""
        try:
            response = await self._client.request(
                "GET" if body is None else "POST", url, json=body, timeout=httpx2.Timeout(LISTING_SECONDS, connect=5.0)
            )
        except httpx2.RequestError as error:
            raise self._unreachable(error) from error
        if response.status_code != 200:
            raise await self._refused(response)
        try:
            return encoding.loads(response.content)
        except ValueError as error:
            raise ModelBadRequest(
                f"{self.provider}: {response.url.copy_with(query=None).path} at {self.place} did not answer with JSON; "
                "is the base URL right?"
            ) from error

    async def _refused(self, response: httpx2.Response) -> ModelError:
        try:
            body = await response.aread()
        except httpx2.RequestError:
            body = b""  # the status says enough when the explanation does not arrive
        return self.failure(response.status_code, body, response)

    def failure(self, status: int, body: bytes, response: httpx2.Response) -> ModelError:
        """The error that an answer with `status` and `body` means, without the secret in its text."""
        return failures.from_reply(
            self.provider, status, body, response.headers, place=self.place + response.url.path, secret=self._secret
        )

    def _unreachable(self, error: httpx2.RequestError) -> ModelError:
        if isinstance(error, httpx2.ConnectTimeout):
            return ModelUnreachable(f"{self.provider}: no connection to {self.place} within {CONNECT_SECONDS:.0f} s")
        if isinstance(error, httpx2.TimeoutException):
            return ModelTimeout(f"{self.provider}: {self.place} was silent for too long")
        return ModelUnreachable(f"{self.provider}: cannot reach {self.place} ({type(error).__name__}: {error})")


class Reply:
    """An open answer with status 200."""

    def __init__(self, endpoint: Endpoint, response: httpx2.Response) -> None:
        self._endpoint = endpoint
        self._response = response
        self.request_id: str | None = response.headers.get("x-request-id") or response.headers.get("request-id")

    @property
    def is_stream(self) -> bool:
        """False when the server answered with one JSON object although a stream was asked for."""
        return "application/json" not in self._response.headers.get("content-type", "")

    async def json(self) -> Any:
        """The whole answer as JSON. Raises ModelCutOff."""
        try:
            return encoding.loads(await self._response.aread())
        except (httpx2.RequestError, ValueError) as error:
            raise ModelCutOff(f"{self._endpoint.provider}: the answer stopped in the middle") from error

    async def events(self) -> AsyncGenerator[list[bytes], None]:
        """The `data` of server-sent events, in lists of those that arrived together.

        Raises:
            ModelCutOff: the connection broke. ModelTimeout: the server was silent for too long.
        """
        parse = EventParser()
        try:
            async with aclosing(self._response.aiter_bytes()) as chunks:
                async for chunk in chunks:
                    if found := parse.feed(chunk):
                        yield found
        except httpx2.TimeoutException as error:
            raise ModelTimeout(f"{self._endpoint.provider}: the stream was silent for too long") from error
        except httpx2.RequestError as error:
            raise ModelCutOff(
                f"{self._endpoint.provider}: the stream broke in the middle ({type(error).__name__})"
            ) from error
        if rest := parse.end():
            yield rest

    def failure(self, body: Any) -> ModelError:
        """The error that an `error` object inside the stream means."""
        return self._endpoint.failure(200, encoding.dumps(body), self._response)


async def drain(events: AsyncIterator[list[bytes]]) -> None:
    """Read to the end of a stream that is logically over, so that its connection can serve again.

    A server that keeps the connection open is not waited for.
    """
    try:
        async with asyncio.timeout(DRAIN_SECONDS):
            async for _ in events:
                pass
    except (TimeoutError, ModelError):
        return  # the answer is complete; only the connection is lost


class EventParser:
    """Splits bytes into the `data` of server-sent events. Keeps what is incomplete for the next bytes."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []

    def feed(self, chunk: bytes) -> list[bytes]:
        """The events completed by `chunk`."""
        lines = (self._rest + chunk if self._rest else chunk).split(b"\n")
        self._rest = lines.pop()
        found: list[bytes] = []
        for line in lines:
            if line.startswith(b"data:"):
                self._data.append(line[5:])
            elif line in (b"", b"\r"):
                if self._data:
                    found.append(self._data[0].strip() if len(self._data) == 1 else b"\n".join(self._data).strip())
                    self._data = []
            elif line.startswith(b"error:"):  # older llama.cpp servers report failures in a field of this name
                found.append(b'{"error":' + line[6:].strip() + b"}")
        return found

    def end(self) -> list[bytes]:
        """What an unfinished last event holds."""
        return self.feed(b"\n\n")


async def retrying(
    attempt: Callable[[], AsyncGenerator[ModelEvent, None]],
    *,
    tries: int,
    sleep: Sleep,
    adapt: Callable[[ModelError], bool],
) -> AsyncGenerator[ModelEvent, None]:
    """Yield the events of `attempt`, made again after passing errors as long as nothing was yielded.

    `adapt` is asked first: True means that the request was changed to what the server accepts, and is sent at once.
    A wait the provider asked for is honoured up to 30 s; a longer one is the caller's to decide.
    """
    failed = 0
    while True:
        started = False
        try:
            async with aclosing(attempt()) as events:
                async for event in events:
                    started = True
                    yield event
                return
        except ModelError as error:
            if started:
                raise
            if adapt(error):
                continue
            failed += 1
            wait = _wait(error, failed)
            if not error.retryable or failed >= tries or wait > LONGEST_WAIT_SECONDS:
                raise
        await sleep(wait)


def _wait(error: ModelError, failed: int) -> float:
    if error.retry_after is not None:
        return error.retry_after
    return min(8.0, 2.0 ** (failed - 2)) * (0.5 + random.random() / 2)  # noqa: S311 - jitter, not a secret
