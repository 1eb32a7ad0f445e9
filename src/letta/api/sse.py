"""A run's events as HTTP: an SSE stream, or one JSON answer.

Frames are unnamed `data:` lines only, because the official SDKs drop every other event name; errors alone are
`event: error`. Leaving a stream drops a reader, not the run.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import uuid4

import orjson

from letta.api.wire import Pieces, Wire, WireOptions, moment, to_wire
from letta.errors import LettaError, ModelError, PendingApproval
from letta.runtime.events import Committed, Delta, Event, EventLog, Failure, Finished, Log, RunUsage
from letta.runtime.records import usage_json
from letta.schemas.messages import Message, Role
from letta.schemas.runs import StopReason
from letta.store.query import now

DONE = b"data: [DONE]\n\n"
E = TypeVar("E")
_STREAM_ERRORS = frozenset(
    {"llm_timeout", "llm_rate_limit", "llm_authentication", "llm_empty_response", "stream_incomplete"}
)


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """How a caller wants the stream: `tokens` means pieces as they are written, `pings` keep-alives."""

    wire: WireOptions
    tokens: bool
    pings: bool
    ping_interval: float


def frame(value: Wire) -> bytes:
    """One SSE frame."""
    return b"data: " + orjson.dumps(value) + b"\n\n"


def stream(run_id: str, events: EventLog, options: StreamOptions) -> AsyncIterator[bytes]:
    """The frames of a run, as many at once as there are, ending with `[DONE]`."""
    return relay(run_id, events, Encoder(run_id, options).frames, options)


async def relay(
    run_id: str | None, events: Log[E], frames: Callable[[E | Finished], list[bytes]], options: StreamOptions
) -> AsyncIterator[bytes]:
    """The frames of any log of events, with keep-alives in between."""
    if options.pings:
        yield frame(_ping(run_id))
    batches = events.batches()
    waiting: asyncio.Future[list[E | Finished]] | None = None
    try:
        while True:
            waiting = waiting or asyncio.ensure_future(anext(batches))
            done, _ = await asyncio.wait({waiting}, timeout=options.ping_interval)
            if not done:
                if options.pings:
                    yield frame(_ping(run_id))
                continue
            try:
                batch = waiting.result()
            except StopAsyncIteration:
                return
            waiting = None
            if data := b"".join(chunk for event in batch for chunk in frames(event)):
                yield data
    finally:
        if waiting is not None:
            waiting.cancel()


class Encoder:
    """Events to frames. In token mode a message that went out in pieces is not sent again.

    `mark` may add to every message before it is sent.
    """

    def __init__(self, run_id: str, options: StreamOptions, mark: Callable[[Wire], Wire] = lambda wire: wire) -> None:
        self._run_id = run_id
        self._options = options
        self._mark = mark
        self._pieces: dict[str, Pieces] = {}

    def frames(self, event: Event) -> list[bytes]:
        match event:
            case Delta():
                return self._delta(event)
            case Committed():
                shown = [wire for message in self._fresh(event) for wire in to_wire(message, self._options.wire)]
                return [frame(self._mark(wire)) for wire in shown]
            case Finished():
                return finish_frames([self._run_id], event)

    def _delta(self, event: Delta) -> list[bytes]:
        if not self._options.tokens:
            return []
        pieces = self._pieces.get(event.message_id)
        if pieces is None:
            pieces = self._pieces[event.message_id] = Pieces(self._run_id, self._options.wire)
        return [frame(self._mark(wire)) for wire in pieces.frames(event)]

    def _fresh(self, event: Committed) -> list[Message]:
        streamed = event.streamed if self._options.tokens and event.streamed in self._pieces else None
        return [
            message for message in event.messages if is_shown(message, self._options.wire) and message.id != streamed
        ]


def is_shown(message: Message, options: WireOptions) -> bool:
    """Whether a message is part of a run's answer: what the agent and its tools said, not what was sent to it."""
    return message.role in (Role.ASSISTANT, Role.TOOL) or (message.role is Role.SUMMARY and options.compactions)


def finish_frames(run_ids: Sequence[str], event: Finished) -> list[bytes]:
    """The end of every stream: stop reason, then usage or the error (of the last run), then `[DONE]`."""
    stop = frame(stop_reason(event.stop_reason))
    if event.failure is not None:
        return [stop, b"event: error\n" + frame(_error(run_ids[-1] if run_ids else "", event.failure)), DONE]
    if event.stop_reason is StopReason.CANCELLED:
        return [stop, DONE]
    return [stop, frame(usage_statistics(run_ids, event.usage)), DONE]


def stop_reason(reason: StopReason) -> Wire:
    return {"message_type": "stop_reason", "stop_reason": reason.value}


def usage_statistics(run_ids: Sequence[str], usage: RunUsage) -> Wire:
    numbers = usage_json(usage)
    for name in ("prompt_tokens", "completion_tokens", "total_tokens"):
        numbers[name] = numbers[name] or 0
    return {"message_type": "usage_statistics", **numbers, "run_ids": list(run_ids)}


def _ping(run_id: str | None) -> Wire:
    return {
        "id": f"ping-{uuid4()}",
        "date": moment(now()),
        "name": None,
        "message_type": "ping",
        "otid": None,
        "sender_id": None,
        "step_id": None,
        "is_err": None,
        "seq_id": None,
        "run_id": run_id,
    }


def _error(run_id: str, failure: Failure) -> Wire:
    known = failure.type in _STREAM_ERRORS or not failure.type.startswith("llm_")
    return {
        "message_type": "error_message",
        "run_id": run_id,
        "error_type": failure.type if known else "llm_error",
        "message": failure.message,
        "detail": failure.detail,
        "seq_id": None,
    }


async def collect(run_id: str, events: EventLog, options: WireOptions) -> Wire:
    """The blocking answer: wait for the end, then everything the agent said.

    Raises:
        letta.errors.LettaError: with the status and body of the failure.
    """
    finished = await events.wait()
    if finished.failure is not None:
        raise run_failed(finished.failure)
    messages: list[dict[str, Any]] = [
        wire
        for event in events.events
        if isinstance(event, Committed)
        for message in event.messages
        if is_shown(message, options)
        for wire in to_wire(message, options)
    ]
    return {
        "messages": messages,
        "stop_reason": stop_reason(finished.stop_reason),
        "usage": usage_statistics([run_id], finished.usage),
        "logprobs": None,
        "turns": None,
    }


def run_failed(failure: Failure) -> LettaError:
    """The failure of a run as an error to answer with."""
    if failure.type == PendingApproval.code:
        return PendingApproval(failure.message, pending_request_id=failure.detail)
    error: LettaError = LettaError(failure.message, detail=failure.detail)
    if failure.of_model:
        error = ModelError(failure.message, detail=failure.detail, retry_after=failure.retry_after)
        error.retryable = failure.retryable
    error.status, error.code = failure.status, failure.type
    return error
