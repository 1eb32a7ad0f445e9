"""A run's events as HTTP: an SSE stream, or one JSON answer.

Frames are unnamed `data:` lines only, because the official SDKs drop every other event name; errors alone are
`event: error`. Leaving a stream drops a reader, not the run.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import aclosing
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TypeVar
from uuid import uuid4

import orjson
from fastapi import Response
from starlette.types import Receive, Scope, Send

from letta.api.wire import Pieces, Wire, WireOptions, moment, to_wire
from letta.errors import Conflict, LettaError, ModelError, PendingApproval
from letta.runtime.events import Committed, Delta, Event, Failure, Finished, RunUsage
from letta.runtime.following import Following, Part
from letta.runtime.records import usage_json
from letta.runtime.running import Running
from letta.schemas.messages import Message, Role
from letta.schemas.runs import StopReason
from letta.store.query import now

log = logging.getLogger(__name__)

DONE = b"data: [DONE]\n\n"
END = "done"
"""What a browser that has read a stream to its end sends as `Last-Event-ID`."""
_PER_ATTEMPT = 10_000_000
_dropped: ContextVar[bool] = ContextVar("reader_dropped", default=False)
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


class EventStream(Response):
    """An answer of frames. A reader that takes nothing for `patience` seconds is dropped; so is one that has left."""

    media_type = "text/event-stream; charset=utf-8"

    def __init__(self, frames: AsyncGenerator[bytes], patience: float) -> None:
        self._frames = frames
        self._patience = patience
        self._over = False
        self.status_code = 200
        self.background = None
        self.init_headers({"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        writing = asyncio.current_task()
        assert writing is not None, "an answer is written in a task"
        leaving = asyncio.ensure_future(_left(receive))
        leaving.add_done_callback(lambda left: left.cancelled() or self._over or writing.cancel())
        try:
            await self._write(send)
        except asyncio.CancelledError:
            if not leaving.done():
                raise
            writing.uncancel()
        finally:
            self._over = True
            leaving.cancel()

    async def _write(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async with aclosing(self._frames):
            async for data in self._frames:
                try:
                    # Waits while what was sent before has not reached the reader.
                    async with asyncio.timeout(self._patience):
                        await send({"type": "http.response.body", "body": data, "more_body": True})
                except TimeoutError:
                    log.warning("a reader of a stream took nothing for %.0f seconds and is dropped", self._patience)
                    _dropped.set(True)
                    return
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def is_news(record: logging.LogRecord) -> bool:
    """For the log of the HTTP server: whether it says more than that the answer to a dropped reader has no end."""
    return record.exc_info is not None or not _dropped.get()


async def _left(receive: Receive) -> None:
    """Wait until the reader goes away."""
    while (await receive())["type"] != "http.disconnect":
        pass


def frame(value: Wire) -> bytes:
    """One SSE frame."""
    return b"data: " + orjson.dumps(value) + b"\n\n"


async def stream(parts: AsyncGenerator[Part], encoder: "RunFrames") -> AsyncGenerator[bytes]:
    """The frames of a run, as many at once as there are, ending with `[DONE]`; a keep-alive for every empty part."""
    if encoder.options.pings:
        yield encoder.ping()
    async with aclosing(parts):
        async for part in parts:
            if part.events:
                if data := b"".join(encoder.frames(part)):
                    yield data
            elif encoder.options.pings:
                yield encoder.ping()


async def relay(
    batches: AsyncIterator[list[E]], frames: Callable[[E], list[bytes]], options: StreamOptions
) -> AsyncGenerator[bytes]:
    """The frames of any events, with a keep-alive for every empty batch."""
    if options.pings:
        yield frame(_ping(None, None))
    async for batch in batches:
        if batch:
            if data := b"".join(chunk for event in batch for chunk in frames(event)):
                yield data
        elif options.pings:
            yield frame(_ping(None, None))


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
        if isinstance(event, Finished):
            return finish_frames([self._run_id], event)
        return [frame(self._mark(wire)) for wire in self.wires(event)]

    def wires(self, event: Delta | Committed) -> Iterable[Wire]:
        """What is shown of an event, each a new object."""
        if isinstance(event, Committed):
            return [wire for message in self._fresh(event) for wire in to_wire(message, self._options.wire)]
        if not self._options.tokens:
            return ()
        pieces = self._pieces.get(event.message_id)
        if pieces is None:
            pieces = self._pieces[event.message_id] = Pieces(self._run_id, self._options.wire)
        return pieces.frames(event)

    def _fresh(self, event: Committed) -> list[Message]:
        streamed = event.streamed if self._options.tokens and event.streamed in self._pieces else None
        return [
            message for message in event.messages if is_shown(message, self._options.wire) and message.id != streamed
        ]


class RunFrames:
    """The frames of a run. A reader that passes `after` gets them with their numbers, those behind `after` only.

    A number is never given to two frames, and each frame has the same one whoever reads it, when and where: in streams
    of whole messages they are counted from the first of the run, in streams of pieces from the first of the attempt.
    With `ids` they are also `id:` lines, which is for browsers: the official SDKs stumble over those.
    """

    def __init__(self, run_id: str, options: StreamOptions, *, after: int | None = None, ids: bool = False) -> None:
        self.options = options
        self._run_id = run_id
        self._encoder = Encoder(run_id, options)
        self._after = after
        self._ids = ids
        self._attempt = 1
        self._count = 0
        self._seen = after or 0

    def frames(self, part: Part) -> list[bytes]:
        if part.attempt != self._attempt and self.options.tokens:
            self._attempt, self._count = part.attempt, (part.attempt - 1) * _PER_ATTEMPT
        made: list[bytes] = []
        for event in part.events:
            if isinstance(event, Finished):
                made += self._end(event)
            else:
                made += (
                    [frame(wire) for wire in self._encoder.wires(event)] if self._after is None else self._new(event)
                )
        return made

    def _new(self, event: Delta | Committed) -> Iterator[bytes]:
        assert self._after is not None
        for wire in self._encoder.wires(event):
            self._count += 1
            if self._count > self._after:
                wire["seq_id"] = self._seen = self._count
                yield self._identified(frame(wire))

    def _end(self, event: Finished) -> list[bytes]:
        """Stop reason, usage or error, and `[DONE]`. The first two have numbers, too, which only `id:` lines show."""
        *told, done = finish_frames([self._run_id], event)
        if not self._ids or not event.stored:
            return [*told, done]
        made = []
        for data in told:
            self._count += 1
            if self._count > self._seen:
                made.append(b"id: %d\n" % self._count + data)
        return [*made, b"id: " + END.encode() + b"\n" + done]

    def _identified(self, data: bytes) -> bytes:
        return b"id: %d\n" % self._count + data if self._ids else data

    def ping(self) -> bytes:
        return frame(_ping(self._run_id, self._seen or None))


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


def _ping(run_id: str | None, seen: int | None) -> Wire:
    return {
        "id": f"ping-{uuid4()}",
        "date": moment(now()),
        "name": None,
        "message_type": "ping",
        "otid": None,
        "sender_id": None,
        "step_id": None,
        "is_err": None,
        "seq_id": seen,
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


async def collect(following: Following, running: Running, options: WireOptions) -> Wire:
    """The blocking answer: wait for the end, then everything the agent said.

    Raises:
        letta.errors.LettaError: with the status and body of the failure.
    """
    finished = await running.events.wait()
    events: list[Event] = [*running.events.events]
    if not finished.stored:
        tokens = bool(running.work.request.get("stream_tokens"))
        left = running.left
        async with aclosing(following.parts(running.work.id, tokens=tokens, idle=None, left=left)) as parts:
            events = [event async for part in parts for event in part.events]
        [finished] = [event for event in events if isinstance(event, Finished)]
    if finished.failure is not None:
        raise run_failed(finished.failure)
    messages: list[Wire] = [
        wire
        for event in events
        if isinstance(event, Committed)
        for message in event.messages
        if is_shown(message, options)
        for wire in to_wire(message, options)
    ]
    return {
        "messages": messages,
        "stop_reason": stop_reason(finished.stop_reason),
        "usage": usage_statistics([running.work.id], finished.usage),
        "logprobs": None,
        "turns": None,
    }


def run_failed(failure: Failure) -> LettaError:
    """The failure of a run as an error to answer with."""
    if failure.type == PendingApproval.code:
        return PendingApproval(failure.message, pending_request_id=failure.detail)
    if failure.type == Conflict.code:
        return Conflict(failure.message)
    error: LettaError = LettaError(failure.message, detail=failure.detail)
    if failure.of_model:
        error = ModelError(failure.message, detail=failure.detail, retry_after=failure.retry_after)
        error.retryable = failure.retryable
    error.status, error.code = failure.status, failure.type
    return error
