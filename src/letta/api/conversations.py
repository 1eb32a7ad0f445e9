"""Conversations: `/v1/conversations`, threads of one agent beside its own one.

A conversation is named by its id; `default` with `agent_id`, or an agent's id, name the agent's own thread.
"""

from typing import Annotated, Any, Literal, NamedTuple

from fastapi import Body, Depends, Path, Query, Response
from sqlalchemy import Connection

from letta.api import openapi, routes
from letta.api.arrival import Marked
from letta.api.context import Page, Parts, Server, paging, reply
from letta.api.following import follow_conversation
from letta.api.messages import Types, with_prompt
from letta.api.sending import check_unstreamed, send
from letta.api.wire import WireOptions, all_to_wire
from letta.errors import Conflict, InvalidValue, NotFound
from letta.runtime.closing import close_pending
from letta.runtime.prompts import current_prompt
from letta.schemas import wire_messages
from letta.schemas.common import UUID4_PATTERN, Prefix, id_pattern, new_id
from letta.schemas.compaction import Compact, CompactionResponse
from letta.schemas.conversations import (
    ArchiveStatus,
    Conversation,
    ConversationOrderBy,
    CreateConversation,
    RecompileConversation,
    UpdateConversation,
)
from letta.schemas.runs import FollowStream
from letta.schemas.sends import BusyPolicy, SendRequest
from letta.store import agents, conversations, forks, isolation, messages, runs
from letta.store.conversations import FIRST_POSITION, ConversationFilter, Thread
from letta.store.query import now

router = routes.router(prefix="/v1/conversations", tags=["conversations"])

OWN_THREAD = "default"
ConversationId = Annotated[
    str, Path(pattern=id_pattern(Prefix.CONVERSATION), description="`conv-` and a lower-case UUID4")
]
ThreadId = Annotated[
    str,
    Path(
        pattern=f"^({OWN_THREAD}|({Prefix.CONVERSATION}|{Prefix.AGENT})-{UUID4_PATTERN})$",
        description="The conversation's id, or `default` for the own thread of `agent_id`",
    ),
]
Owner = Annotated[str | None, Query(alias="agent_id", description="Whose own thread `default` is")]
Conversations = Annotated[Page, Depends(paging(sorts=tuple(ConversationOrderBy)))]
Messages = Annotated[Page, Depends(paging(limit=100))]


class Address(NamedTuple):
    """A thread, and whose it is."""

    agent_id: str
    conversation_id: str


async def _filter(
    agent_id: Annotated[str | None, Query(pattern=id_pattern(Prefix.AGENT))] = None,
    archive_status: ArchiveStatus = ArchiveStatus.UNARCHIVED,
    summary_search: str | None = None,
    show_hidden_conversations: Annotated[bool, Query(description="Also those that were made hidden")] = False,
) -> ConversationFilter:
    return ConversationFilter(agent_id, archive_status, summary_search or None, show_hidden_conversations)


# -- conversations -----------------------------------------------------------------------------------------------------


@router.post("", response_model=Conversation)
async def create_conversation(
    parts: Parts,
    agent_id: Annotated[str, Query(pattern=id_pattern(Prefix.AGENT))],
    body: CreateConversation | None = None,
) -> Response:
    """Begin a conversation. It shares the agent's memory, except for copies of blocks that it gets for itself."""
    body = body or CreateConversation()
    values = {**await _columns(parts, body), "hidden": body.hidden}
    made = await parts.database.write(_make, agent_id, values, body.isolated_block_labels or ())
    return reply(made)


@router.get("", response_model=list[Conversation])
async def list_conversations(
    parts: Parts, wanted: Annotated[ConversationFilter, Depends(_filter)], page: Conversations
) -> Response:
    return reply(await parts.database.read(_page, wanted, page.arguments()))


@router.get("/{conversation_id}", response_model=Conversation)
async def retrieve_conversation(parts: Parts, conversation_id: ThreadId, agent_id: Owner = None) -> Response:
    at = await address(parts, conversation_id, agent_id)
    return reply(await parts.database.read(_whole, at.conversation_id))


@router.patch("/{conversation_id}", response_model=Conversation)
async def update_conversation(parts: Parts, conversation_id: ConversationId, body: UpdateConversation) -> Response:
    """Change a conversation. A null `model`, `model_settings` or `context_window_limit` lets the agent's own apply."""
    return reply(await parts.database.write(_change, conversation_id, await _columns(parts, body)))


@router.delete("/{conversation_id}", response_model=None)
async def delete_conversation(parts: Parts, conversation_id: ConversationId) -> Response:
    """Stop what goes on in the conversation and remove it; forks of it keep what they share."""
    at = await address(parts, conversation_id, None)
    if active := await parts.database.read(runs.open_ids, at.conversation_id, at.agent_id):
        await parts.runner.cancel(active)
    await parts.database.write(_remove, conversation_id)
    return reply(None)


@router.post("/{conversation_id}/fork", response_model=Conversation)
async def fork_conversation(
    parts: Parts,
    conversation_id: ThreadId,
    agent_id: Owner = None,
    message_id: Annotated[str | None, Query(description="The last message the fork shares")] = None,
    hidden: bool = False,
) -> Response:
    """Begin another conversation with what this one said so far, or up to and including a message."""
    at = await address(parts, conversation_id, agent_id)
    return reply(await parts.database.write(_fork, at.conversation_id, message_id, hidden))


@router.post("/{conversation_id}/recompile", response_model=str)
async def recompile_conversation(
    parts: Parts, conversation_id: ThreadId, body: RecompileConversation | None = None, dry_run: bool = False
) -> Response:
    """The system prompt as the next request will carry it. It is always compiled anew, so there is nothing to store."""
    at = await address(parts, conversation_id, body.agent_id if body else None)
    return reply(await current_prompt(parts.database, at.agent_id, at.conversation_id))


@router.post("/{conversation_id}/cancel", response_model=dict[str, Literal["cancelled", "failed"]])
async def cancel_conversation(parts: Parts, conversation_id: ThreadId, agent_id: Owner = None) -> Response:
    """Cancel the conversation's active runs, and close calls that wait for an approval."""
    at = await address(parts, conversation_id, agent_id)
    active = await parts.database.read(runs.open_ids, at.conversation_id, at.agent_id)
    waited = await parts.database.write(close_pending, at.conversation_id)
    if not active and waited is None:
        raise Conflict("No active runs to cancel")
    cancelled = await parts.runner.cancel(active) if active else {}
    return reply(({waited: "cancelled"} if waited else {}) | cancelled)


@router.post("/{conversation_id}/compact", response_model=CompactionResponse)
async def compact_conversation(parts: Parts, conversation_id: ThreadId, body: Compact | None = None) -> Response:
    """Replace the older part of the conversation by a summary now. What it stands for stays stored and searchable."""
    at = await address(parts, conversation_id, body.agent_id if body else None)
    settings = body.compaction_settings if body else None
    return reply(await parts.runner.compact(at.agent_id, at.conversation_id, settings))


# -- messages ----------------------------------------------------------------------------------------------------------


@router.post("/{conversation_id}/messages", response_model=wire_messages.LettaResponse, responses=openapi.ANSWER)
async def send_conversation_message(
    parts: Parts, conversation_id: ThreadId, body: SendRequest, marks: Marked
) -> Response:
    """Send messages and get the agent's answer as server-sent events, or with `streaming: false` as JSON."""
    streaming = body.streaming is not False
    if not streaming:
        check_unstreamed(body)
    at = await address(parts, conversation_id, body.agent_id)
    return await send(
        parts, at.agent_id, at.conversation_id, body, marks, streaming=streaming, when_busy=BusyPolicy.REJECT
    )


@router.get("/{conversation_id}/messages", response_model=list[wire_messages.Message])
async def list_conversation_messages(
    parts: Parts,
    conversation_id: ThreadId,
    page: Messages,
    agent_id: Owner = None,
    include_return_message_types: Types = None,
    group_id: str | None = None,
    include_err: bool | None = None,
) -> Response:
    """What was said, newest first unless asked otherwise. `after` and `before` follow the order of the list."""
    at = await address(parts, conversation_id, agent_id)
    found = await parts.database.read(
        messages.conversation_page,
        at.conversation_id,
        cursor_order="list",
        after=page.after,
        before=page.before,
        order=page.order,
        limit=page.limit,
        include_errors=bool(include_err),
        group_id=group_id,
    )
    wanted = frozenset(include_return_message_types) if include_return_message_types else None
    return reply(all_to_wire(await with_prompt(parts, found, at.conversation_id), WireOptions(types=wanted)))


@router.post("/{conversation_id}/stream", response_model=None, responses=openapi.STREAM)
async def stream_conversation(
    parts: Parts, conversation_id: ThreadId, body: Annotated[FollowStream | None, Body()] = None
) -> Any:
    """What happens in the conversation, from the beginning of a run or after a frame: the newest active run, or the one
    that is named or began with an `otid`."""
    at = await address(parts, conversation_id, body.agent_id if body else None)
    return await follow_conversation(parts, at.agent_id, at.conversation_id, body or FollowStream())


# -- what several routes need ------------------------------------------------------------------------------------------


async def address(parts: Server, conversation_id: str, agent_id: str | None) -> Address:
    """Whose thread a path names.

    Raises:
        letta.errors.InvalidValue: `default` without an agent, or two different agents.
        letta.errors.NotFound: no such conversation, or it is another agent's.
    """
    if conversation_id == OWN_THREAD:
        if agent_id is None:
            raise InvalidValue("conversation_id: 'default' needs agent_id, to say whose thread it is")
        return Address(agent_id, agent_id)
    if conversation_id.startswith(f"{Prefix.AGENT}-"):
        if agent_id not in (None, conversation_id):
            raise InvalidValue(f"agent_id: conversation_id names agent {conversation_id}, agent_id another one")
        return Address(conversation_id, conversation_id)
    thread = await parts.database.read(conversations.thread, conversation_id)
    if agent_id not in (None, thread.agent_id):
        raise NotFound(f"conversation {conversation_id} not found for agent {agent_id}")
    return Address(thread.agent_id, conversation_id)


async def _columns(parts: Server, body: CreateConversation | UpdateConversation) -> dict[str, Any]:
    """What was sent, as columns. Raises letta.errors.NotFound for a model nobody has."""
    sent = {name: getattr(body, name) for name in body.model_fields_set}
    values = {
        name: value
        for name, value in sent.items()
        if name in ("summary", "description", "context_window_limit", "last_message_at", "busy_policy")
    }
    if "model" in sent:
        values["model"] = (await parts.registry.find(sent["model"])).handle if sent["model"] is not None else None
    if "model_settings" in sent:
        settings = sent["model_settings"]
        values["model_settings"] = None if settings is None else settings.model_dump(mode="json", exclude_none=True)
    if "archived" in sent:
        values["archived_at"] = now() if sent["archived"] else None
    return values


def _make(connection: Connection, agent_id: str, values: dict[str, Any], labels: Any) -> Conversation:
    agents.require(connection, agent_id)
    conversation_id = new_id(Prefix.CONVERSATION)
    conversations.start(connection, conversation_id, agent_id, next_position=FIRST_POSITION, **values)
    isolation.isolate(connection, agent_id, conversation_id, labels)
    return _whole(connection, conversation_id)


def _change(connection: Connection, conversation_id: str, values: dict[str, Any]) -> Conversation:
    if values:
        conversations.change(connection, conversation_id, values)
    return _whole(connection, conversation_id)


def _remove(connection: Connection, conversation_id: str) -> None:
    conversations.change(connection, conversation_id, {"deleted_at": now()})
    isolation.forget(connection, conversation_id=conversation_id)


def _fork(connection: Connection, source_id: str, message_id: str | None, hidden: bool) -> Conversation:
    fork_id = new_id(Prefix.CONVERSATION)
    forks.fork(connection, source_id, fork_id, message_id=message_id, hidden=hidden)
    return _whole(connection, fork_id)


def _whole(connection: Connection, conversation_id: str) -> Conversation:
    return _completed(connection, [conversations.get(connection, conversation_id)])[0]


def _page(connection: Connection, wanted: ConversationFilter, page: dict[str, Any]) -> list[Conversation]:
    if wanted.agent_id is not None:
        agents.require(connection, wanted.agent_id)
    return _completed(connection, conversations.list_page(connection, wanted, **page))


def _completed(connection: Connection, found: list[tuple[Conversation, Thread]]) -> list[Conversation]:
    """Conversations with the blocks that are their own, and the messages their model sees."""
    copies = isolation.ids(connection, [thread.id for _, thread in found])
    for conversation, thread in found:
        conversation.isolated_block_ids = copies.get(thread.id, [])
        conversation.in_context_message_ids = messages.ids_in_window(connection, thread)
    return [conversation for conversation, _ in found]
