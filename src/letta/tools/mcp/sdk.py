"""Connections with MCP servers over the official client library: stdio, SSE, streamable HTTP.

Turns everything that can go wrong into `letta.errors.McpFailed` with a sentence a person can act on. Does not decide
when to connect, how long to wait in all, or what becomes of a tool.
"""

import logging
import os
import threading
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from types import TracebackType
from typing import Any, TextIO, cast

import httpx2
from mcp import MCPError
from mcp.client import Client, Transport
from mcp.client.sse import sse_client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.message import SessionMessage
from mcp_types import (
    CONNECTION_CLOSED,
    REQUEST_TIMEOUT,
    CallToolResult,
    Implementation,
    JSONRPCResponse,
)
from pydantic import ValidationError

from letta.errors import LettaError, McpFailed, McpSignInNeeded, McpTimeout
from letta.tools.mcp import content
from letta.tools.mcp.protocol import CONNECT_SECONDS, Outcome, Unsent, Wish
from letta.tools.mcp.target import HttpTarget, StdioTarget, without_secrets
from letta.tools.outbound import guarded_client
from letta.version import __version__

log = logging.getLogger(__name__)
# The library logs every broken connection with its stack; each is told once, in words, by this module's callers.
logging.getLogger("mcp").setLevel(logging.CRITICAL)

_PROBE_SECONDS = 10.0
"""How long one message of the handshake may take: a server that ignores the newest form is asked in the older one."""
_READ_SECONDS = 3600.0
_LARGEST_EVENT = 32 * 1024 * 1024
_MOST_PAGES = 100
_GONE = "Session terminated"


@asynccontextmanager
async def open_link(wish: Wish) -> AsyncIterator["SdkLink"]:
    """Connect, shake hands, and hold the connection for as long as the block lasts.

    Raises:
        letta.errors.McpFailed: it does not work; the message says why, without secrets.
        letta.errors.McpSignInNeeded: the server wants a person to sign in.
    """
    seen = _Seen()
    try:
        async with AsyncExitStack() as stack:
            transport = await _transport(wish, stack, seen)
            watched = _Watched(transport, wish)
            client = Client(
                cast(Transport, watched),
                read_timeout_seconds=_PROBE_SECONDS,
                client_info=Implementation(name="open-letta", version=__version__),
                cache=None,
            )
            await stack.enter_async_context(client)
            yield SdkLink(wish, client, watched, seen)
    except (LettaError, GeneratorExit):
        raise
    except Exception as error:
        # Libraries below raise what they like, in groups: whatever it is, the connection is over.
        raise _failure(error, wish, seen) from error


class _Seen:
    """What the server answered besides the protocol: the last HTTP status, the last lines of its stderr."""

    def __init__(self) -> None:
        self.status: int | None = None
        self.lines: deque[str] = deque(maxlen=20)

    async def note(self, response: httpx2.Response) -> None:
        self.status = response.status_code


async def _transport(wish: Wish, stack: AsyncExitStack, seen: _Seen) -> Any:
    target = wish.target
    if isinstance(target, StdioTarget):
        errors = stack.enter_context(_stderr(wish.name, seen))
        parameters = StdioServerParameters(command=target.command, args=list(target.args), env=dict(target.env))
        return stdio_client(parameters, errlog=errors)

    def client(headers: Any = None, timeout: Any = None, auth: Any = None) -> httpx2.AsyncClient:
        return guarded_client(
            allow_private=wish.allow_private,
            headers={"User-Agent": "open-letta", **target.headers},
            timeout=httpx2.Timeout(CONNECT_SECONDS, read=_READ_SECONDS),
            auth=wish.auth,
            event_hooks={"response": [seen.note]},
        )

    if target.kind == "sse":
        return sse_client(target.url, httpx_client_factory=client)
    http = await stack.enter_async_context(client())
    return streamable_http_client(target.url, http_client=http, max_sse_event_size=_LARGEST_EVENT)


@contextmanager
def _stderr(name: str, seen: _Seen) -> Iterator[TextIO]:
    """A file for the errors of a process: its last lines are kept, all go to the debug log."""
    read_end, write_end = os.pipe()

    def follow() -> None:
        with os.fdopen(read_end, encoding="utf-8", errors="replace") as lines:
            while line := lines.readline(2000):
                seen.lines.append(line.rstrip())
                log.debug("MCP server %s: %s", name, line.rstrip())

    # A thread, because it ends with the last process that holds the other end, and not with this block.
    threading.Thread(target=follow, name=f"mcp-stderr-{name}", daemon=True).start()
    with os.fdopen(write_end, "w", encoding="utf-8") as errors:
        yield errors


class _Watched:
    """A transport whose incoming messages are looked at on their way.

    Listings pass with harmless schemas, because the library refuses a whole listing for one bad tool; the real ones
    are kept. The end of the stream is reported.
    """

    def __init__(self, inner: Any, wish: Wish) -> None:
        self._inner = inner
        self._wish = wish
        self.listed: list[Any] = []
        self.cursor: str | None = None

    async def __aenter__(self) -> tuple["_Reader", Any]:
        read, write = await self._inner.__aenter__()
        return _Reader(read, self), write

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        ended: bool | None = await self._inner.__aexit__(kind, error, trace)
        return ended

    def look(self, item: SessionMessage | Exception) -> SessionMessage | Exception:
        message = item.message if isinstance(item, SessionMessage) else None
        result = message.result if isinstance(message, JSONRPCResponse) else {}
        listed, cursor = result.get("tools"), result.get("nextCursor")
        if isinstance(listed, list) and "content" not in result:
            self.listed += listed
            self.cursor = cursor if isinstance(cursor, str) else None
            result["tools"] = [tool for tool in map(_harmless, listed) if tool]
        return item

    def closed(self) -> None:
        self._wish.on_closed()


class _Reader:
    """The stream of incoming messages, as the library reads it."""

    def __init__(self, inner: Any, watched: _Watched) -> None:
        self._inner = inner
        self._watched = watched

    @property
    def last_context(self) -> Any:
        return getattr(self._inner, "last_context", None)

    async def receive(self) -> SessionMessage | Exception:
        return self._watched.look(await self._inner.receive())

    async def aclose(self) -> None:
        await self._inner.aclose()

    def __aiter__(self) -> "_Reader":
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        try:
            return self._watched.look(await self._inner.__anext__())
        except StopAsyncIteration:
            self._watched.closed()
            raise

    async def __aenter__(self) -> "_Reader":
        await self._inner.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        ended: bool | None = await self._inner.__aexit__(kind, error, trace)
        return ended


def _harmless(tool: Any) -> dict[str, Any] | None:
    """A tool as the library needs to know it. Its output is not checked: a model reads more than a schema allows."""
    if not isinstance(tool, dict) or not isinstance(tool.get("name"), str):
        return None
    schema = tool.get("inputSchema")
    if not isinstance(schema, dict) or schema.get("type") != "object" or not isinstance(schema.get("properties"), dict):
        return {"name": tool["name"], "inputSchema": {"type": "object"}}
    # Some arguments are repeated in headers, which the library finds here.
    return {"name": tool["name"], "inputSchema": {"type": "object", "properties": schema["properties"]}}


class SdkLink:
    """An open connection (`letta.tools.mcp.protocol.Link`)."""

    def __init__(self, wish: Wish, client: Client, watched: _Watched, seen: _Seen) -> None:
        self._wish = wish
        self._client = client
        self._watched = watched
        self._seen = seen

    async def tools(self) -> list[dict[str, Any]]:
        """Every tool as its server describes it. Raises letta.errors.McpFailed."""
        self._watched.listed, cursor = [], None
        for _ in range(_MOST_PAGES):
            self._watched.cursor = None
            try:
                await self._client.list_tools(cursor=cursor)
            except ValidationError as error:
                # The tools themselves are judged one by one; this is for what surrounds them.
                log.info("MCP server %s lists its tools in an odd form: %s", self._wish.name, error)
            except Exception as error:
                raise _failure(error, self._wish, self._seen) from error
            cursor = self._watched.cursor
            if cursor is None:
                break
        return [tool if isinstance(tool, dict) else {} for tool in self._watched.listed]

    async def call(self, name: str, arguments: dict[str, Any], seconds: float) -> Outcome:
        """Run a tool. Raises letta.errors.McpFailed, and `Unsent` where the server cannot have seen the call."""
        try:
            result = await self._client.call_tool(name, arguments, read_timeout_seconds=seconds)
        except Exception as error:
            raise _failure(error, self._wish, self._seen) from error
        assert isinstance(result, CallToolResult)
        blocks = [block.model_dump(mode="json", by_alias=True, exclude_none=True) for block in result.content]
        return content.outcome(blocks, result.structured_content, ok=not result.is_error)


def _failure(error: BaseException, wish: Wish, seen: _Seen) -> LettaError:
    """What an exception of the library means to people."""
    leaves = list(_leaves(error))
    for leaf in leaves:
        if isinstance(leaf, LettaError):
            return leaf
    status = next((leaf.response.status_code for leaf in leaves if isinstance(leaf, httpx2.HTTPStatusError)), None)
    status = status or seen.status
    if status in (401, 403) and isinstance(wish.target, HttpTarget):
        return McpSignInNeeded(
            f"MCP server {wish.name} refuses access (HTTP {status}): sign in, or give it a valid token"
        )
    if any(isinstance(leaf, httpx2.ConnectError | httpx2.ConnectTimeout) for leaf in leaves):
        return Unsent(_told(wish, seen, f"cannot be reached ({leaves[0]})"))
    leaf = leaves[0]
    if isinstance(leaf, MCPError):
        return _protocol_failure(leaf, wish, seen)
    if isinstance(leaf, TimeoutError | httpx2.TimeoutException):
        return McpTimeout(_told(wish, seen, "was silent for too long"))
    if isinstance(leaf, FileNotFoundError | PermissionError | NotADirectoryError):
        return McpFailed(_told(wish, seen, f"cannot be started: {leaf.strerror or leaf}"))
    if isinstance(leaf, httpx2.NetworkError | httpx2.RemoteProtocolError):
        return McpFailed(_told(wish, seen, "broke the connection"))
    if isinstance(leaf, httpx2.SSEError):
        return McpFailed(_told(wish, seen, f"broke the stream of events ({leaf})"))
    if isinstance(leaf, httpx2.HTTPStatusError):
        return McpFailed(_told(wish, seen, f"answers with HTTP {leaf.response.status_code}"))
    if isinstance(leaf, ValidationError):
        return McpFailed(_told(wish, seen, "does not answer in the form of the protocol"))
    return McpFailed(_told(wish, seen, f"failed: {type(leaf).__name__}: {leaf}"))


def _protocol_failure(error: MCPError, wish: Wish, seen: _Seen) -> McpFailed:
    if error.code == REQUEST_TIMEOUT:
        return McpTimeout(_told(wish, seen, "did not answer in time"))
    if error.message == _GONE:
        return Unsent(_told(wish, seen, "has ended the session"))
    if error.code == CONNECTION_CLOSED:
        return McpFailed(_told(wish, seen, "closed the connection", errors=True))
    if error.message == "Server returned an error response":
        return McpFailed(_told(wish, seen, f"answers with HTTP {seen.status}"))
    return McpFailed(_told(wish, seen, f"refuses: {error.message}"))


def _told(wish: Wish, seen: _Seen, what: str, *, errors: bool = False) -> str:
    """A sentence about the server, with the last lines of its stderr where `errors` is set."""
    text = f"MCP server {wish.name} {what}"
    if errors and seen.lines:
        text += f"; it wrote: {' / '.join(line for line in list(seen.lines)[-3:] if line)}"
    return without_secrets(text[:2000], wish.target)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error
