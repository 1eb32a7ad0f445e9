"""Imports the protocol's library when the first server is used: it takes three quarters of a second.

Done in a thread, so that nobody else waits.
"""

import asyncio
import importlib
from dataclasses import dataclass
from typing import Any, Protocol

from letta.tools.mcp.protocol import OpenLink


class Judge(Protocol):
    """`letta.tools.mcp.judge.judge`."""

    def __call__(self, definitions: list[dict[str, Any]]) -> tuple[list[Any], list[str]]: ...


@dataclass(frozen=True, slots=True)
class Library:
    """What is built on the protocol's library."""

    open_link: OpenLink
    judge: Judge
    sign_in: Any


async def library() -> Library:
    """Load it, or return what is loaded."""
    return await asyncio.to_thread(_load)


def _load() -> Library:
    return Library(
        importlib.import_module("letta.tools.mcp.sdk").open_link,
        importlib.import_module("letta.tools.mcp.judge").judge,
        importlib.import_module("letta.tools.mcp.sdk_sign_in").sign_in,
    )
