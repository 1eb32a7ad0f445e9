"""Following what happens in a run, from any point on, as often as wanted and from anywhere."""

from dataclasses import replace

from fastapi import Response
from sqlalchemy import Connection

from letta.api import sse
from letta.api.context import Server
from letta.api.sending import stream_options
from letta.errors import Gone, InvalidRequest, NotFound
from letta.schemas.runs import FollowStream
from letta.schemas.sends import SendRequest
from letta.store import messages, run_events, runs


async def follow(parts: Server, run_id: str, wanted: FollowStream, *, ids: bool = False) -> Response:
    """The stream of a run behind frame `starting_after`, as its request asked for it; with `ids` as `id:` lines, too.

    Raises:
        letta.errors.NotFound: no such run.
        letta.errors.Gone: it ended too long ago.
    """
    state = await parts.database.read(run_events.state, run_id)
    if parts.following.is_forgotten(state):
        raise Gone(
            f"run {run_id} ended more than {parts.settings.stream_retention:.0f} seconds ago: its stream is not kept "
            f"any longer; GET /v1/runs/{run_id}/messages lists what was said"
        )
    asked = stream_options(parts, SendRequest.model_validate(state.request))
    options = replace(asked, pings=wanted.include_pings)
    encoder = sse.RunFrames(run_id, options, after=wanted.starting_after, ids=ids)
    happening = parts.following.parts(run_id, tokens=options.tokens, idle=options.ping_interval)
    return sse.EventStream(sse.stream(happening, encoder), parts.settings.stream_patience)


async def follow_conversation(parts: Server, agent_id: str, conversation_id: str, wanted: FollowStream) -> Response:
    """The stream of a run of a conversation: `run_id`, else the one begun with `otid`, else the newest active one.

    Raises:
        letta.errors.NotFound: no such run in this conversation.
        letta.errors.InvalidRequest: no run was named and none is active.
        letta.errors.Gone: as `follow`.
    """
    run_id = await parts.database.read(_chosen, agent_id, conversation_id, wanted.run_id, wanted.otid)
    return await follow(parts, run_id, wanted)


def _chosen(connection: Connection, agent_id: str, conversation_id: str, run_id: str | None, otid: str | None) -> str:
    if run_id is not None:
        if run_events.state(connection, run_id).conversation_id != conversation_id:
            raise NotFound(f"run {run_id} not found in conversation {conversation_id}")
        return run_id
    active = runs.open_ids(connection, conversation_id, agent_id)
    if otid is not None:
        found = messages.with_otid(connection, conversation_id, otid) or _waiting(connection, active, otid)
        if found is None:
            raise NotFound(f"no run with otid {otid!r} found in conversation {conversation_id}")
        return found
    if not active:
        raise InvalidRequest(f"No active runs found for conversation {conversation_id}: name one with run_id or otid")
    return active[-1]


def _waiting(connection: Connection, run_ids: list[str], otid: str) -> str | None:
    """A run whose messages are not stored yet: they are with its first step."""
    for run_id in reversed(run_ids):
        said = SendRequest.model_validate(run_events.state(connection, run_id).request).inputs()
        if any(message.otid == otid for message in said):
            return run_id
    return None
