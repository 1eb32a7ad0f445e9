"""What happens during a run, as a stream that any number of readers follow.

Blocking answers, SSE, background runs, the CLI and the SDK all read these events; nothing else comes out of a run.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from letta.errors import LettaError, ModelError
from letta.models.protocol import ReasoningDelta, TextDelta, ToolCallDelta, Usage
from letta.schemas.messages import Message
from letta.schemas.runs import StopReason

NO_TOKENS = Usage()
_MOST_TOGETHER = 256
E = TypeVar("E")


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of the message that is being written. `held` names the tools whose calls will wait for an answer."""

    message_id: str
    step_id: str
    date: datetime
    style: str
    piece: TextDelta | ReasoningDelta | ToolCallDelta
    held: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Committed:
    """Messages of a step, now stored. `streamed` names the one whose deltas went out before, if any."""

    messages: tuple[Message, ...]
    streamed: str | None = None


@dataclass(frozen=True, slots=True)
class RunUsage:
    """Tokens of all steps so far. `context_tokens` is what the last prompt held."""

    step_count: int = 0
    tokens: Usage = NO_TOKENS
    context_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a run failed: a stable word, and a text for people. `of_model`: the model provider is to blame."""

    type: str
    message: str
    status: int = 500
    detail: str | None = None
    of_model: bool = False
    retryable: bool = False
    retry_after: float | None = None


def failure_of(error: LettaError) -> Failure:
    """An error as the end of a run."""
    detail = error.details.get("detail") or error.details.get("pending_request_id")
    text = None if detail is None else str(detail)
    if isinstance(error, ModelError):
        return Failure(error.code, error.message, error.status, text, True, error.retryable, error.retry_after)
    return Failure(error.code, error.message, error.status, text)


def stored_failure(error: dict[str, Any]) -> Failure:
    """Why a run failed, from what its row says: the status is that of the most general error with its code."""
    kinds: list[type[LettaError]] = [LettaError]
    for kind in kinds:
        if kind.code == error["type"]:
            break
        kinds += kind.__subclasses__()
    else:
        kind = LettaError
    of_model = issubclass(kind, ModelError)
    retryable = of_model and getattr(kind, "retryable", False)
    return Failure(error["type"], error["message"], kind.status, error.get("detail"), of_model, retryable)


@dataclass(frozen=True, slots=True)
class Finished:
    """The last event of every run. Not `stored`: it ends here only, and goes on later or in another process."""

    stop_reason: StopReason
    usage: RunUsage
    failure: Failure | None = None
    stored: bool = True


Event = Delta | Committed | Finished


class Log(Generic[E]):
    """Events that end with `Finished`, kept while anybody may read them. Any number of readers."""

    def __init__(self) -> None:
        self.events: list[E | Finished] = []
        self._changed = asyncio.Event()
        self._over = asyncio.Event()

    @property
    def finished(self) -> Finished | None:
        """The last event, once it is there."""
        last = self.events[-1] if self.events else None
        return last if isinstance(last, Finished) else None

    def publish(self, event: E | Finished) -> None:
        self.events.append(event)
        self._changed.set()
        if isinstance(event, Finished):
            self._over.set()

    async def batches(self, start: int = 0, idle: float | None = None) -> AsyncIterator[list[E | Finished]]:
        """All events from `start` on, many at a time, until the last. A reader that falls behind holds few of them.

        After so many seconds of silence (`idle`) there is an empty batch.
        """
        while True:
            while start < len(self.events):
                batch = self.events[start : start + _MOST_TOGETHER]
                start += len(batch)
                yield batch
            if self.finished:
                return
            # The writer sets the shared event; whoever wakes up replaces it, so that no reader misses a change.
            if self._changed.is_set():
                self._changed = asyncio.Event()
                continue
            try:
                async with asyncio.timeout(idle):
                    await self._changed.wait()
            except TimeoutError:
                yield []

    async def wait(self) -> Finished:
        """The last event, when it comes."""
        await self._over.wait()
        assert self.finished is not None
        return self.finished


class EventLog(Log[Delta | Committed]):
    """The events of one run. One writer."""


def added(left: Usage, right: Usage) -> Usage:
    """Two usages together; unknown stays unknown only where both are."""

    def total(name: str) -> int | None:
        values = [value for value in (getattr(left, name), getattr(right, name)) if value is not None]
        return sum(values) if values else None

    return Usage(*(total(name) for name in Usage.__slots__))
