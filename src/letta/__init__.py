"""An open, self-hosted server for stateful agents. `Letta` and `AsyncLetta` are its clients.

The clients are loaded when they are first used: the official client takes most of a second to import, and the server
does not need it.
"""

import importlib
from typing import TYPE_CHECKING, Any

from letta.version import __version__

if TYPE_CHECKING:
    from letta.client import AsyncLetta, Letta

__all__ = ["AsyncLetta", "Letta", "__version__"]


def __getattr__(name: str) -> Any:
    if name in ("AsyncLetta", "Letta"):
        return getattr(importlib.import_module("letta.client"), name)
    raise AttributeError(f"module 'letta' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
