"""Sending messages to an agent, and reading what was said."""

from typing import Annotated, Literal

from fastapi import Depends, Query, Response

from letta.api import openapi, routes
from letta.api.arrival import Marked
from letta.api.context import AgentId, MessageId, Page, Parts, Server, paging, reply
from letta.api.sending import check_unstreamed, send, start_in_background
from letta.api.wire import WireOptions, all_to_wire, to_wire
from letta.errors import Conflict, NotAllowed, NotFound
from letta.memory.window import is_prompt
from letta.runtime.closing import close_pending
from letta.runtime.prompts import current_prompt
from letta.schemas import wire_messages
from letta.schemas.compaction import Compact, CompactionResponse
from letta.schemas.messages import Message, TextPart
from letta.schemas.runs import CancelRuns, Run
from letta.schemas.sends import MessageType, SendRequest
from letta.store import messages, runs

router = routes.router(prefix="/v1", tags=["messages"])

Types = Annotated[list[MessageType] | None, Query()]
Messages = Annotated[Page, Depends(paging(limit=100))]


@router.post("/agents/{agent_id}/messages", response_model=wire_messages.LettaResponse, responses=openapi.ANSWER)
async def send_message(parts: Parts, agent_id: AgentId, body: SendRequest, marks: Marked) -> Response:
    """Send messages and get the agent's answer, as JSON or (with `streaming`) as server-sent events."""
    streaming = bool(body.streaming)
    if not streaming:
        check_unstreamed(body)
    return await send(parts, agent_id, agent_id, body, marks, streaming=streaming)


@router.post("/agents/{agent_id}/messages/stream", response_model=None, responses=openapi.STREAM, deprecated=True)
async def stream_message(parts: Parts, agent_id: AgentId, body: SendRequest, marks: Marked) -> Response:
    """Send messages and get the answer as server-sent events."""
    return await send(parts, agent_id, agent_id, body, marks, streaming=True)


@router.post("/agents/{agent_id}/messages/async", response_model=Run)
async def send_message_async(parts: Parts, agent_id: AgentId, body: SendRequest, marks: Marked) -> Response:
    """Send messages and get the run at once; the agent works on it in the background."""
    return reply(await start_in_background(parts, agent_id, agent_id, body, marks))


@router.post("/agents/{agent_id}/messages/cancel", response_model=dict[str, Literal["cancelled", "failed"]])
async def cancel_messages(parts: Parts, agent_id: AgentId, body: CancelRuns | None = None) -> Response:
    """Cancel the runs named, or all that are active, and close calls that wait for an approval."""
    wanted = body.run_ids if body else None
    open_runs = await parts.database.read(runs.open_ids, None, agent_id)
    chosen = [run_id for run_id in open_runs if wanted is None or run_id in wanted]
    waited = await parts.database.write(close_pending, agent_id)
    if not chosen and waited is None:
        raise Conflict("No active runs to cancel")
    cancelled = await parts.runner.cancel(chosen) if chosen else {}
    return reply(({waited: "cancelled"} if waited else {}) | cancelled)


@router.post("/agents/{agent_id}/summarize", response_model=CompactionResponse)
async def compact_messages(parts: Parts, agent_id: AgentId, body: Compact | None = None) -> Response:
    """Replace the older part of the conversation by a summary now. What it stands for stays stored and searchable."""
    settings = body.compaction_settings if body else None
    return reply(await parts.runner.compact(agent_id, agent_id, settings))


@router.get("/agents/{agent_id}/messages", response_model=list[wire_messages.Message])
async def list_messages(
    parts: Parts,
    agent_id: AgentId,
    page: Messages,
    include_return_message_types: Types = None,
    conversation_id: str | None = None,
    group_id: str | None = None,
    include_err: bool | None = None,
    use_assistant_message: bool = True,
    assistant_message_tool_name: str = "send_message",
    assistant_message_tool_kwarg: str = "message",
) -> Response:
    """What was said, oldest first. `after` means newer and `before` older, whatever the order."""
    thread_id = agent_id if conversation_id in (None, "default") else str(conversation_id)
    found = await parts.database.read(
        messages.conversation_page,
        thread_id,
        cursor_order="time",
        after=page.after,
        before=page.before,
        order=page.order,
        limit=page.limit,
        include_errors=bool(include_err),
        group_id=group_id,
        agent_id=agent_id,
    )
    options = WireOptions(
        use_assistant_message,
        assistant_message_tool_name,
        assistant_message_tool_kwarg,
        frozenset(include_return_message_types) if include_return_message_types else None,
    )
    return reply(all_to_wire(await with_prompt(parts, found, thread_id), options))


@router.get("/messages", response_model=list[wire_messages.Message])
async def list_all_messages(
    parts: Parts, page: Messages, conversation_id: str | None = None, include_return_message_types: Types = None
) -> Response:
    """Messages of all agents, oldest first; cursors as in an agent's list."""
    found = await parts.database.read(
        messages.everywhere, conversation_id, page.after, page.before, page.order, page.limit
    )
    wanted = frozenset(include_return_message_types) if include_return_message_types else None
    return reply(all_to_wire(await with_prompt(parts, found, conversation_id), WireOptions(types=wanted)))


@router.patch("/agents/{agent_id}/messages/{message_id}", response_model=None, responses=openapi.GONE, deprecated=True)
async def modify_message(parts: Parts, agent_id: AgentId, message_id: MessageId) -> Response:
    """Refused on purpose, as every V1 server does: what was said is not rewritten."""
    raise NotAllowed("messages cannot be changed once they are sent: send another one, or reset the agent's messages")


@router.get("/messages/{message_id}", response_model=list[wire_messages.Message])
async def retrieve_message(parts: Parts, message_id: MessageId) -> Response:
    """A stored message, as the list of messages it shows as."""
    found = await parts.database.read(messages.get, message_id)
    [shown] = await with_prompt(parts, [found])
    return reply(to_wire(shown))


async def with_prompt(parts: Server, found: list[Message], conversation_id: str | None = None) -> list[Message]:
    """The messages, with the system prompt filled in as it is now; as it is in a fork that shares the message."""
    return [
        await _filled(parts, message, conversation_id or message.conversation_id) if is_prompt(message) else message
        for message in found
    ]


async def _filled(parts: Server, message: Message, conversation_id: str) -> Message:
    try:
        prompt = await current_prompt(parts.database, message.agent_id, conversation_id)
    except NotFound:
        # The conversation was deleted: its messages stay, its prompt is not made any more.
        return message
    return message.model_copy(update={"parts": [TextPart(text=prompt)]})
