"""One connection with an MCP server, held open by a task of its own, and used by any number of others.

The task enters and leaves the connection, as its library demands; a caller that goes away takes nothing down with it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeVar

from letta.errors import LettaError, McpFailed, McpTimeout
from letta.tools.mcp.protocol import Link, OpenLink, Unsent, Wish

T = TypeVar("T")

IDLE_SECONDS = 600.0
"""How long an unused connection is kept."""

CLOSE_SECONDS = 10.0
"""How long a connection may take to close; the library kills a process that does not end within five."""

PROOF_SECONDS = 5.0
"""How long a server may take to show that it does not hang."""

_END_SECONDS = 2.0
_MOMENT = 0.05

log = logging.getLogger(__name__)


class Connection:
    """Starts to connect when it is made; `opened` waits for that."""

    def __init__(self, wish: Wish, open_link: OpenLink) -> None:
        self.name = wish.name
        self._stop = asyncio.Event()
        self._closed = asyncio.Event()
        self._unused = asyncio.Event()
        self._unused.set()
        self._opened: asyncio.Future[Link] = asyncio.get_running_loop().create_future()
        self._failure: LettaError | None = None
        self._calls = 0
        self._doubtful = False
        self._task = asyncio.create_task(self._hold(replace(wish, on_closed=self._other_side_closed), open_link))

    @property
    def alive(self) -> bool:
        """Whether a call may be tried."""
        return not self._stop.is_set() and not self._task.done()

    def when_closed(self, then: Callable[[], None]) -> None:
        """Do something once the connection has ended."""
        self._task.add_done_callback(lambda _: then())

    async def opened(self, seconds: float) -> None:
        """Wait until it can be used.

        Raises:
            letta.errors.McpTimeout: not within `seconds`. letta.errors.McpFailed: it cannot be opened.
        """
        try:
            await asyncio.wait({self._opened}, timeout=seconds)
        finally:
            if not self._opened.done():
                self._stop.set()
                self._task.cancel()
        if not self._opened.done():
            raise McpTimeout(f"MCP server {self.name} did not answer within {seconds:g} s")
        self._opened.result()

    async def use(self, work: Callable[[Link], Awaitable[T]], seconds: float) -> T:
        """Do something over it.

        Raises:
            Unsent: the connection was gone before; the work had no effect.
            letta.errors.McpTimeout: not within `seconds`. letta.errors.McpFailed: it failed.
        """
        if not self.alive:
            raise Unsent(f"MCP server {self.name} closed the connection")
        if self._doubtful:
            await self._prove()
        self._calls += 1
        self._unused.clear()
        doing = asyncio.ensure_future(work(self._opened.result()))
        try:
            await asyncio.wait({doing, self._task}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if doing.done() and not (failed := doing.exception()):
                return doing.result()
            if not doing.done() and not self._task.done():
                self._doubtful = True
                raise McpTimeout(f"MCP server {self.name} did not answer within {seconds:g} s")
            failed = doing.exception() if doing.done() else None
            raise await self._reason(failed)
        finally:
            if not doing.done():
                doing.cancel()
                await asyncio.wait({doing}, timeout=_END_SECONDS)
            self._calls -= 1
            if self._calls == 0:
                self._unused.set()

    async def _prove(self) -> None:
        """After a call that took too long: the tool was slow, or the server hangs. Raises `Unsent` when it hangs."""
        try:
            async with asyncio.timeout(PROOF_SECONDS):
                await self._opened.result().tools()
        except (TimeoutError, LettaError):
            self.retire()
            raise Unsent(f"MCP server {self.name} hangs") from None
        self._doubtful = False

    async def _reason(self, failed: BaseException | None) -> BaseException:
        """Why work failed: the end of the connection tells more than what the work noticed of it."""
        alone = self._calls == 1
        if not isinstance(failed, Unsent | McpTimeout):
            # A connection that breaks fails its calls a moment before it has ended itself.
            await asyncio.wait({self._task}, timeout=_END_SECONDS if self._closed.is_set() else _MOMENT)
        if isinstance(failed, Unsent):
            self._stop.set()
            return failed
        if isinstance(failed, McpTimeout):
            self._doubtful = True
            return failed
        if not self._task.done():
            return failed or McpFailed(f"MCP server {self.name} closed the connection")
        if isinstance(self._failure, Unsent) and alone:
            return self._failure
        why = self._failure.message if self._failure else f"MCP server {self.name} closed the connection"
        return McpFailed(f"{why} during the call; whether the tool did its work is unknown")

    def retire(self) -> None:
        """Take no more calls; close once those that run have ended."""
        self._stop.set()

    async def close(self) -> None:
        """Close it now; calls that run fail."""
        self._stop.set()
        self._closed.set()
        await asyncio.wait({self._task}, timeout=CLOSE_SECONDS)
        if not self._task.done():
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=CLOSE_SECONDS)
        if not self._task.done():
            log.warning("MCP server %s does not let go of its connection", self.name)

    async def _hold(self, wish: Wish, open_link: OpenLink) -> None:
        try:
            async with open_link(wish) as link:
                if not self._opened.done():
                    self._opened.set_result(link)
                await self._until_unused()
        except LettaError as error:
            self._failure = error
            log.info("%s", error.message)
        finally:
            self._stop.set()
            if not self._opened.done():
                failure = self._failure or McpFailed(f"the connection with MCP server {self.name} was closed")
                self._opened.set_exception(failure)
                # Whoever waited may have gone.
                self._opened.exception()

    async def _until_unused(self) -> None:
        while not self._stop.is_set():
            unused = self._calls == 0
            await _first(self._stop, seconds=IDLE_SECONDS)
            if unused and self._calls == 0:
                self._stop.set()
        await _first(self._unused, self._closed)

    def _other_side_closed(self) -> None:
        self._stop.set()
        self._closed.set()


async def _first(*events: asyncio.Event, seconds: float | None = None) -> None:
    """Wait until one of the events is set, at most so long."""
    waiting = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for one in waiting:
            one.cancel()
