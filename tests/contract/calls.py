"""Calls of the official client with every parameter it has: a test that misses a new one fails."""

import inspect
from collections.abc import Callable, Set
from typing import Any, TypeVar

Answer = TypeVar("Answer")
_TRANSPORT = frozenset({"extra_headers", "extra_query", "extra_body", "timeout"})


def call(method: Callable[..., Answer], *, unset: Set[str] = frozenset(), **given: Any) -> Answer:
    """Call `method` with all of its parameters, except those in `unset`, which the test leaves out for a reason."""
    accepted = set(inspect.signature(method).parameters) - _TRANSPORT
    assert accepted - unset == given.keys(), "give every parameter of the method, or name it in `unset`"
    return method(**given)


def plain(answer: Any) -> dict[str, Any]:
    """The answer as JSON, field names as on the wire."""
    shown: dict[str, Any] = answer.model_dump(mode="json", by_alias=True)
    return shown
