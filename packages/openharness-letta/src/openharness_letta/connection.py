"""The exchange with a Letta server over letta-client: plain calls, lists and event streams, as parsed JSON.

Speaks to the server in JSON and not in the client's own types, so that every 1.x release of letta-client will do. Knows
the shape of no route.
"""

import asyncio
import os
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any
from urllib.parse import quote

from letta_client import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    AsyncLetta,
    AsyncStream,
    ConflictError,
    Letta,
)
from letta_client import RequestOptions as Options

from openharness_letta.errors import RunFailed, run_error

LOCAL_SERVER = "http://localhost:8283"
PAGE = 100
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 2.0


def open_client(api_key: str | None, base_url: str | None, timeout: float) -> AsyncLetta:
    """A letta-client for `base_url`, else `LETTA_BASE_URL`, else the local server; the key likewise, else none."""
    return AsyncLetta(
        api_key=api_key,
        base_url=base_url or os.environ.get("LETTA_BASE_URL") or LOCAL_SERVER,
        timeout=timeout,
    )


def url_path(*segments: str) -> str:
    """A path under `/v1`, its segments quoted. A last segment of "" gives the trailing slash of a collection."""
    return "/v1/" + "/".join(quote(segment, safe="") for segment in segments)


class Connection:
    """One letta-client, asynchronous or not. A synchronous one works in threads and never holds up the event loop."""

    def __init__(self, client: AsyncLetta | Letta, busy_timeout: float = 60.0) -> None:
        self._client = client
        self._busy_timeout = busy_timeout

    async def get(self, path: str, **query: Any) -> Any:
        """The JSON of a GET."""
        options: Options = {"params": query}
        with _unreachable_explained():
            if isinstance(self._client, AsyncLetta):
                return await self._client.get(path, cast_to=object, options=options)
            return await asyncio.to_thread(self._client.get, path, cast_to=object, options=options)

    async def send(self, method: str, path: str, body: Mapping[str, Any] | None = None, *, once: bool = False) -> Any:
        """The JSON of a `post`, `put`, `patch` or `delete`; with `once`, a refusal is not asked about again."""
        call = partial(getattr(self._client, method), options={"max_retries": 0} if once else {})
        with _unreachable_explained():
            if isinstance(self._client, AsyncLetta):
                return await call(path, cast_to=object, body=body)
            return await asyncio.to_thread(call, path, cast_to=object, body=body)

    async def every(self, path: str, **query: Any) -> list[dict[str, Any]]:
        """Every item of a list, page by page until one brings nothing new."""
        items: dict[str, dict[str, Any]] = {}
        cursor: dict[str, str] = {}
        while True:
            page = await self.get(path, limit=PAGE, **query, **cursor)
            fresh = {item["id"]: item for item in page if item["id"] not in items}
            if not fresh:
                return list(items.values())
            items |= fresh
            cursor = {"after": page[-1]["id"]}

    async def frames(self, path: str, body: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        """The JSON of each frame of the event stream that a POST opens.

        The request is sent once: a message must not be given to an agent twice. Only where the server says that the
        agent is busy, and so has not taken it, is it offered again, until the timeout of the connection.

        Raises:
            APIError: the server refuses.
            RunFailed: the stream reports an error, or breaks off.
        """
        async with await self._opened(path, body) as stream:
            while True:
                try:
                    frame = await anext(stream)
                except StopAsyncIteration:
                    return
                except APIStatusError as error:
                    # Inside a stream, whose status was sent long before: letta-client's form of an error frame.
                    frame = error.body if isinstance(error.body, dict) else {"message": error.message}
                    raise RunFailed(run_error(frame)) from error
                except Exception as error:  # letta-client lets the errors of its HTTP library through
                    raise RunFailed(f"the stream broke off: {str(error) or type(error).__name__}") from error
                if isinstance(frame, dict):
                    yield frame

    async def _opened(self, path: str, body: Mapping[str, Any]) -> AsyncStream[object]:
        assert isinstance(self._client, AsyncLetta)
        clock = asyncio.get_running_loop()
        patience = clock.time() + self._busy_timeout
        pause = FIRST_PAUSE
        once: Options = {"max_retries": 0}
        while True:
            try:
                with _unreachable_explained():
                    return await self._client.post(
                        path, body=body, cast_to=object, options=once, stream=True, stream_cls=AsyncStream[object]
                    )
            except ConflictError as error:
                if not _is_busy(error) or clock.time() + pause > patience:
                    raise
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)


@contextmanager
def _unreachable_explained() -> Iterator[None]:
    """Make letta-client's bare "Connection error." say which server it is about, and why."""
    try:
        yield
    except APITimeoutError:
        raise
    except APIConnectionError as error:
        said = f"The Letta server at {error.request.url} cannot be reached: {error.__cause__ or error}"
        raise APIConnectionError(message=said, request=error.request) from error


def waits_for_approval(error: ConflictError) -> bool:
    """Whether the server refuses because an earlier tool call still waits for a decision."""
    return _code(error) == "PENDING_APPROVAL"


def _is_busy(error: ConflictError) -> bool:
    """Whether the server refuses because of another run, which it names, and may take the message later."""
    return _code(error) == "CONVERSATION_BUSY" or (isinstance(error.body, dict) and "run_id" in error.body)


def _code(error: ConflictError) -> object:
    detail = error.body.get("detail") if isinstance(error.body, dict) else None
    return detail.get("code") if isinstance(detail, dict) else None
