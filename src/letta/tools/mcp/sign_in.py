"""People signing in at MCP servers: each sign-in waits for a browser to come back, for five minutes.

Knows which sign-ins wait, in this process; another replica does not know them.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from letta.errors import InvalidRequest, LettaError, McpFailed, McpTimeout, NotFound
from letta.schemas.common import Prefix, new_id
from letta.tools.mcp.protocol import Wish
from letta.tools.mcp.target import HttpTarget
from letta.tools.mcp.tokens import Tokens

SIGN_IN_SECONDS = 300.0
MOST_WAITING = 100
_KEPT = 200

log = logging.getLogger(__name__)

Steps = Callable[..., Awaitable[tuple[dict[str, str], list[dict[str, Any]]]]]
"""`letta.tools.mcp.sdk_sign_in.sign_in`."""


@dataclass(eq=False, slots=True)
class SignIn:
    """One person's way through a sign-in. `begun` is set when there is an address to go to, or nothing to wait for."""

    url: str
    id: str = field(default_factory=lambda: new_id(Prefix.MCP_OAUTH))
    authorization_url: str | None = None
    state: str | None = None
    tools: list[dict[str, Any]] | None = None
    signed_in: bool = False
    error: LettaError | None = None
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    done: asyncio.Event = field(default_factory=asyncio.Event)
    came_back: asyncio.Queue[dict[str, str | None]] = field(default_factory=asyncio.Queue)


class SignIns:
    """The sign-ins of this process, the newest last. `after` is awaited with the address when one has succeeded."""

    def __init__(
        self, tokens: Tokens, after: Callable[[str], Awaitable[None]], seconds: float = SIGN_IN_SECONDS
    ) -> None:
        self._tokens = tokens
        self._after = after
        self._seconds = seconds
        self._all: dict[str, SignIn] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, wish: Wish, redirect_uri: str, steps: Steps) -> SignIn:
        """Start one; it goes on by itself. Raises letta.errors.InvalidRequest when too many wait."""
        assert isinstance(wish.target, HttpTarget), "only servers reached over HTTP ask for a sign-in"
        if len(self._tasks) >= MOST_WAITING:
            raise InvalidRequest(f"{MOST_WAITING} sign-ins wait already; finish one, or try again in five minutes")
        sign_in = SignIn(wish.target.url)
        self._all[sign_in.id] = sign_in
        for old in [one.id for one in self._all.values() if one.done.is_set()][:-_KEPT]:
            del self._all[old]
        task = asyncio.create_task(self._carry_out(sign_in, wish, redirect_uri, steps))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return sign_in

    def get(self, sign_in_id: str) -> SignIn:
        """Raises letta.errors.NotFound."""
        found = self._all.get(sign_in_id)
        if found is None:
            raise NotFound(f"sign-in {sign_in_id} not found: it may have begun before the server was restarted")
        return found

    def come_back(self, state: str, brought: dict[str, str | None], error: str | None) -> SignIn:
        """A browser came back, with a code or the reason why there is none. Raises letta.errors.NotFound."""
        found = next((one for one in self._all.values() if one.state == state and not one.done.is_set()), None)
        if found is None:
            raise NotFound("no sign-in waits for this answer: it took too long, or was finished before")
        if error is not None:
            found.error = McpFailed(f"the sign-in was refused: {error}")
        found.came_back.put_nowait(brought)
        return found

    async def _carry_out(self, sign_in: SignIn, wish: Wish, redirect_uri: str, steps: Steps) -> None:
        async def send_away(url: str) -> None:
            sign_in.authorization_url = url
            sign_in.state = next(iter(parse_qs(urlsplit(url).query).get("state", ())), None)
            sign_in.begun.set()

        async def come_back() -> dict[str, str | None]:
            brought = await sign_in.came_back.get()
            if sign_in.error is not None:
                raise sign_in.error
            return brought

        try:
            async with asyncio.timeout(self._seconds):
                values, sign_in.tools = await steps(wish, redirect_uri, send_away, come_back)
            if values:
                await self._tokens.keep(sign_in.url, values)
                sign_in.signed_in = True
                await self._after(sign_in.url)
        except TimeoutError:
            sign_in.error = McpTimeout(f"nobody has signed in within {self._seconds:g} s")
        except LettaError as error:
            sign_in.error = error
        except Exception as error:
            # The steps talk to strangers' servers: whatever they raise, the one who waits is told.
            log.exception("a sign-in failed")
            sign_in.error = McpFailed(f"the sign-in failed ({type(error).__name__})")
        finally:
            sign_in.begun.set()
            sign_in.done.set()

    async def aclose(self) -> None:
        """Give up what waits."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
