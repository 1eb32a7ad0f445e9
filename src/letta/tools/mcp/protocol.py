"""What the rest of the server sees of a connection with an MCP server. Knows nothing of the protocol's library."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

import httpx2

from letta.errors import McpFailed
from letta.schemas.messages import ImagePart
from letta.tools.mcp.target import Target

CONNECT_SECONDS = 30.0
LIST_SECONDS = 30.0
CALL_SECONDS = 60.0


class Unsent(McpFailed):
    """The connection was gone before the request left: it can be sent again over a new one."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a call gave: text for the model, images, and whether the tool says that it worked."""

    text: str
    ok: bool = True
    images: tuple[ImagePart, ...] = ()


class Link(Protocol):
    """An open connection."""

    async def tools(self) -> list[dict[str, Any]]:
        """Every tool as its server describes it: JSON objects, unchecked. Raises letta.errors.McpFailed."""
        ...

    async def call(self, name: str, arguments: dict[str, Any], seconds: float) -> Outcome:
        """Run a tool. Raises letta.errors.McpFailed, and `Unsent` where the server cannot have seen the call."""
        ...


@dataclass(frozen=True, slots=True)
class Wish:
    """What to connect to, and how. `on_closed` is called when the other side has closed the connection."""

    name: str
    target: Target
    allow_private: bool
    auth: httpx2.Auth | None = None
    on_closed: Callable[[], None] = field(default=lambda: None)


OpenLink = Callable[[Wish], AbstractAsyncContextManager[Link]]
"""Opens a connection for as long as the block lasts. Entered and left in the same task."""
