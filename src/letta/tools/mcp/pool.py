"""The open connections with MCP servers, and how each server is.

A server that does not answer is not asked again at once: until it is its turn, its calls fail with the last reason. The
pauses grow from one second to a minute. A server that a configuration makes different for each agent (by its secrets)
has a connection for each.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from letta.errors import InvalidRequest, LettaError, McpFailed, McpSignInNeeded
from letta.tools.mcp.connection import Connection
from letta.tools.mcp.protocol import CONNECT_SECONDS, Link, OpenLink, Unsent, Wish
from letta.tools.mcp.target import fingerprint

T = TypeVar("T")

LONGEST_PAUSE = 60.0
_TRIES = 2
_MANY = 500


@dataclass(eq=False, slots=True)
class _Place:
    """A target: its connection, and what became of the last attempts to open one. Times are monotonic seconds."""

    server_id: str
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    connection: Connection | None = None
    failures: int = 0
    retry_at: float = 0.0
    error: LettaError | None = None

    @property
    def idle(self) -> bool:
        return not self.turn.locked() and (self.connection is None or not self.connection.alive)


class Pool:
    """Connections by server and target. Safe for any number of tasks."""

    def __init__(self, connect_seconds: float = CONNECT_SECONDS) -> None:
        self._connect_seconds = connect_seconds
        self._places: dict[tuple[str, str], _Place] = {}
        self._open: set[Connection] = set()
        self._closing: set[asyncio.Task[None]] = set()
        self._closed = False

    async def use(
        self,
        server_id: str,
        wish: Wish,
        open_link: OpenLink,
        work: Callable[[Link], Awaitable[T]],
        seconds: float,
        *,
        eager: bool = False,
    ) -> T:
        """Do something over a server's connection, which is opened first where there is none.

        `eager` asks a server again that failed a moment ago. Work that a broken connection cannot have brought to the
        server is done once more over a new one.

        Raises:
            letta.errors.McpFailed: and its leaves; letta.errors.InvalidRequest: an address that must not be called.
        """
        place = self._place(server_id, fingerprint(wish.target))
        for attempt in range(1, _TRIES + 1):
            connection = await self._connection(place, wish, open_link, eager=eager)
            try:
                return await connection.use(work, seconds)
            except Unsent:
                if attempt == _TRIES:
                    raise
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _connection(self, place: _Place, wish: Wish, open_link: OpenLink, *, eager: bool) -> Connection:
        async with place.turn:
            if place.connection is not None and place.connection.alive:
                return place.connection
            wait = place.retry_at - time.monotonic()
            if place.error is not None and wait > 0 and not eager:
                raise _again(place.error, wait)
            if self._closed:
                raise McpFailed("the server is stopping")
            place.connection, connection = None, Connection(wish, open_link)
            self._open.add(connection)
            connection.when_closed(lambda: self._open.discard(connection))
            try:
                await connection.opened(self._connect_seconds)
            except (McpFailed, InvalidRequest) as error:
                place.failures += 1
                pause = min(LONGEST_PAUSE, 2.0 ** (place.failures - 1))
                place.retry_at = time.monotonic() + pause * random.uniform(0.75, 1.0)  # noqa: S311 - jitter
                place.error = error
                raise
            if place not in self._places.values():
                self._close(connection)
                raise McpFailed(f"MCP server {wish.name} was changed while it was connected to")
            place.connection, place.failures, place.error = connection, 0, None
            return connection

    def _place(self, server_id: str, print_: str) -> _Place:
        if (server_id, print_) not in self._places and len(self._places) >= _MANY:
            # Connections that closed by themselves leave places behind.
            unused = [key for key, place in self._places.items() if place.idle and place.error is None]
            for key in unused:
                del self._places[key]
        return self._places.setdefault((server_id, print_), _Place(server_id))

    def connected(self, server_id: str) -> bool:
        """Whether a connection with the server is open."""
        return any(place.connection is not None and place.connection.alive for place in self._of(server_id))

    def trouble(self, server_id: str) -> tuple[LettaError, float] | None:
        """Why the server could not be reached last time, and in how many seconds it is asked again."""
        failed = [place for place in self._of(server_id) if place.error is not None]
        if not failed:
            return None
        last = max(failed, key=lambda place: place.retry_at)
        assert last.error is not None
        return last.error, max(0.0, last.retry_at - time.monotonic())

    def forget(self, server_id: str) -> None:
        """Close the server's connections, without waiting for it, and ask it anew next time."""
        for key in [key for key, place in self._places.items() if place.server_id == server_id]:
            connection = self._places.pop(key).connection
            if connection is not None:
                self._close(connection)

    def _close(self, connection: Connection) -> None:
        task = asyncio.create_task(connection.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _of(self, server_id: str) -> list[_Place]:
        return [place for place in self._places.values() if place.server_id == server_id]

    async def aclose(self) -> None:
        """Close every connection."""
        self._closed = True
        self._places.clear()
        for connection in list(self._open):
            self._close(connection)
        await asyncio.gather(*self._closing)


def _again(error: LettaError, wait: float) -> LettaError:
    """The last reason, said once more."""
    if isinstance(error, McpSignInNeeded | InvalidRequest):
        return error
    kind = McpFailed if isinstance(error, Unsent) else type(error)
    return kind(f"{error.message} (it is asked again in {max(1, round(wait))} s)")
