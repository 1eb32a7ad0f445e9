"""Sending messages over HTTP: the one way in, whatever the thread and the form of the answer.

The routes that send differ in whose thread they name and in their defaults; what happens then is here.
"""

from datetime import timedelta

from fastapi import Response

from letta.api import sse
from letta.api.arrival import Marks, arrival_of, note_answered
from letta.api.context import Server, reply
from letta.api.wire import WireOptions
from letta.errors import InvalidRequest, InvalidValue, NotBuilt
from letta.runtime.running import Running
from letta.schemas.runs import Run, RunStatus
from letta.schemas.sends import BusyPolicy, SendRequest
from letta.store import runs
from letta.store.query import now
from letta.tools import door
from letta.tools.outbound import check_url

_ONLY_STREAMED = (("stream_tokens", True), ("background", True), ("include_pings", False))


async def send(
    parts: Server,
    agent_id: str,
    conversation_id: str,
    body: SendRequest,
    marks: Marks,
    *,
    streaming: bool,
    when_busy: BusyPolicy = BusyPolicy.ENQUEUE,
) -> Response:
    """Start a run and answer with what comes of it: one JSON object, or (`streaming`) server-sent events.

    Raises:
        letta.errors.LettaError: as `start`; without `streaming` also what made the run fail.
    """
    background = bool(body.background)
    running = await start(parts, agent_id, conversation_id, body, marks, background=background, when_busy=when_busy)
    if not streaming:
        answer = await sse.collect(parts.following, running, wire_options(body))
        await note_answered(parts, marks, running.work.id)
        return reply(answer)
    await note_answered(parts, marks, running.work.id)
    options, run_id = stream_options(parts, body), running.work.id
    # Streams of background runs carry numbers, for their readers to come back with.
    encoder = sse.RunFrames(run_id, options, after=0 if body.background else None)
    # Not what this request says of tokens: it may be one that was sent before in another form.
    tokens = bool(running.work.request.get("stream_tokens"))
    happening = parts.following.parts(run_id, tokens=tokens, idle=options.ping_interval, running=running)
    return sse.EventStream(sse.stream(happening, encoder), parts.settings.stream_patience)


async def start(
    parts: Server,
    agent_id: str,
    conversation_id: str,
    body: SendRequest,
    marks: Marks,
    *,
    background: bool,
    when_busy: BusyPolicy = BusyPolicy.ENQUEUE,
) -> Running:
    """Start a run; it is stored when this returns. A request that was sent before gets the run it has already.

    `when_busy` is what happens while the conversation has its turn, unless the request, the conversation or the agent
    says something else.

    Raises:
        letta.errors.NotBuilt: the request wants what this version cannot do.
        letta.errors.NotFound: no such agent, conversation or model.
        letta.errors.PendingApproval: calls wait for an answer, and the request is none.
        letta.errors.Busy: the conversation has its turn, and the request is not to wait.
        letta.errors.InvalidRequest: a callback to nowhere, or a key that is another request's.
    """
    refuse_unbuilt(body)
    if body.callback_url is not None:
        await _check_callback(parts, body.callback_url, background=background)
    if body.override_model is not None:
        parts.registry.resolve(body.override_model)
    arrival = arrival_of(body, marks, when_busy, timedelta(hours=parts.settings.request_key_hours))
    waiting = () if background else door.WAITING.get()
    return await parts.runner.start(
        agent_id, conversation_id, body, background=background, arrival=arrival, asked_by=waiting
    )


async def start_in_background(
    parts: Server, agent_id: str, conversation_id: str, body: SendRequest, marks: Marks
) -> Run:
    """Start a run and answer with it as it was accepted; one that was there already is shown as it is."""
    before = now()
    running = await start(parts, agent_id, conversation_id, body, marks, background=True)
    run = await parts.database.read(runs.get, running.work.id)
    await note_answered(parts, marks, running.work.id)
    if running.work.created_at < before:
        return run
    begun = {"status": RunStatus.CREATED, "stop_reason": None, "completed_at": None, "updated_at": run.created_at}
    return run.model_copy(update=begun | {"ttft_ns": None, "total_duration_ns": None})


async def _check_callback(parts: Server, url: str, *, background: bool) -> None:
    if not background:
        raise InvalidValue("callback_url: needs background=true with streaming=true, or the route .../messages/async")
    await check_callback_url(parts, url)


async def check_callback_url(parts: Server, url: str) -> None:
    """Raises letta.errors.InvalidValue for an address that must not be called."""
    try:
        await check_url(url, allow_private=parts.settings.private_urls_allowed)
    except InvalidRequest as error:
        raise InvalidValue(f"callback_url: {error.message}") from None


def refuse_unbuilt(body: SendRequest) -> None:
    """Raises letta.errors.NotBuilt for what this version cannot do, before anything is stored."""
    for name in ("return_logprobs", "return_token_ids", "top_logprobs"):
        if getattr(body, name):
            raise NotBuilt(f"{name} is not built yet")


def check_unstreamed(body: SendRequest) -> None:
    """Raises letta.errors.InvalidValue for options that only a stream can have."""
    for name, wrong in _ONLY_STREAMED:
        if getattr(body, name) is wrong:
            raise InvalidValue(f"{name}={str(wrong).lower()} needs streaming=true")


def wire_options(body: SendRequest) -> WireOptions:
    """How the caller wants messages shown."""
    return WireOptions(
        body.use_assistant_message,
        body.assistant_message_tool_name,
        body.assistant_message_tool_kwarg,
        frozenset(body.include_return_message_types) if body.include_return_message_types is not None else None,
        body.include_compaction_messages,
    )


def stream_options(parts: Server, body: SendRequest) -> sse.StreamOptions:
    """How the caller wants the stream."""
    return sse.StreamOptions(
        wire_options(body), bool(body.stream_tokens), body.include_pings is not False, parts.settings.ping_interval
    )
