"""Groups of agents: `/v1/groups`, with messages to all of them."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

from fastapi import Depends, Path, Query, Response
from sqlalchemy import Connection

from letta.api import openapi, routes, sse
from letta.api.context import AgentId, MessageId, Page, Parts, Server, paging, reply
from letta.api.messages import with_prompt
from letta.api.sending import refuse_unbuilt, wire_options
from letta.api.wire import Wire, WireOptions, to_wire
from letta.errors import InvalidValue, NotAllowed, NotBuilt
from letta.runtime import grouping
from letta.runtime.events import Committed, Finished
from letta.runtime.group_turn import Member, Said, Turn
from letta.runtime.groups import everybody
from letta.schemas import wire_messages
from letta.schemas.common import Prefix, id_pattern
from letta.schemas.groups import CreateGroup, Group, ManagerType, UpdateGroup
from letta.schemas.messages import Message, Role
from letta.schemas.sends import SendRequest
from letta.store import agents, group_talk, groups, messages
from letta.store.groups import GroupFilter

router = routes.router(prefix="/v1", tags=["groups"])

GroupId = Annotated[str, Path(pattern=id_pattern(Prefix.GROUP), description="`group-` and a lower-case UUID4")]
Groups = Annotated[Page, Depends(paging(order="asc"))]
Messages = Annotated[Page, Depends(paging(limit=100))]


async def _filter(
    manager_type: ManagerType | None = None,
    project_id: str | None = None,
    show_hidden_groups: Annotated[bool | None, Query(description="Also groups that were made hidden")] = None,
) -> GroupFilter:
    return GroupFilter(manager_type, project_id, show_hidden=bool(show_hidden_groups))


@router.post("/groups", response_model=Group)
async def create_group(parts: Parts, body: CreateGroup) -> Response:
    """Make a group. An agent that supervises gets the tool to ask the others."""
    return reply(await parts.database.write(grouping.make, body))


@router.get("/groups", response_model=list[Group])
async def list_groups(parts: Parts, wanted: Annotated[GroupFilter, Depends(_filter)], page: Groups) -> Response:
    return reply(await parts.database.read(groups.list_page, wanted, **page.arguments()))


@router.get("/groups/count", response_model=int)
async def count_groups(parts: Parts) -> Response:
    return reply(await parts.database.read(groups.count, GroupFilter(show_hidden=True)))


@router.get("/groups/{group_id}", response_model=Group)
async def retrieve_group(parts: Parts, group_id: GroupId) -> Response:
    return reply(await parts.database.read(groups.get, group_id))


@router.patch("/groups/{group_id}", response_model=Group)
async def modify_group(parts: Parts, group_id: GroupId, body: UpdateGroup) -> Response:
    """Change a group. One made by `enable_sleeptime` takes another frequency or description, nothing else."""
    return reply(await parts.database.write(grouping.change, group_id, body))


@router.delete("/groups/{group_id}", response_model=dict[str, Any])
async def delete_group(parts: Parts, group_id: GroupId) -> Response:
    """Delete a group. Its agents stay, except for a sleep-time agent that `enable_sleeptime` made."""
    group = await parts.database.read(groups.get, group_id)
    if running := await parts.database.read(group_talk.open_runs, group_id, everybody(group)):
        await parts.runner.cancel(running)
    await parts.database.write(grouping.remove, group_id)
    return reply({"message": f"Group id={group_id} successfully deleted"})


@router.get("/agents/{agent_id}/groups", response_model=list[Group])
async def list_groups_of_agent(
    parts: Parts, agent_id: AgentId, page: Groups, manager_type: ManagerType | None = None
) -> Response:
    """The groups an agent is in or leads."""
    wanted = GroupFilter(manager_type, agent_id=agent_id, show_hidden=True)
    return reply(await parts.database.read(_of_agent, agent_id, wanted, page))


# -- messages ----------------------------------------------------------------------------------------------------------


@router.post("/groups/{group_id}/messages", response_model=wire_messages.LettaResponse, responses=openapi.ANSWER)
async def send_group_message(parts: Parts, group_id: GroupId, body: SendRequest) -> Response:
    """Send messages to a group and get what its agents say, in order; `name` and `sender_id` say who speaks."""
    if not body.streaming:
        for name, wrong in (("stream_tokens", True), ("include_pings", False)):
            if getattr(body, name) is wrong:
                raise InvalidValue(f"{name}={str(wrong).lower()} needs streaming=true")
    return await _send(parts, group_id, body, streaming=bool(body.streaming))


@router.post("/groups/{group_id}/messages/stream", response_model=None, responses=openapi.STREAM)
async def stream_group_message(parts: Parts, group_id: GroupId, body: SendRequest) -> Response:
    """Send messages to a group and get what its agents say as server-sent events."""
    return await _send(parts, group_id, body, streaming=True)


@router.post("/groups/{group_id}/messages/cancel", response_model=dict[str, Literal["cancelled", "failed"]])
async def cancel_group_messages(parts: Parts, group_id: GroupId) -> Response:
    """End the turn of a group, and those that wait. Answers what became of each agent's run."""
    return reply(await parts.groups.cancel(group_id))


@router.get("/groups/{group_id}/messages", response_model=list[wire_messages.Message])
async def list_group_messages(
    parts: Parts,
    group_id: GroupId,
    page: Messages,
    use_assistant_message: bool = True,
    assistant_message_tool_name: str = "send_message",
    assistant_message_tool_kwarg: str = "message",
) -> Response:
    """What was said in a group, oldest first, each thing once. `after` means newer, `before` older."""
    found, names = await parts.database.read(_said_in, group_id, page)
    options = WireOptions(use_assistant_message, assistant_message_tool_name, assistant_message_tool_kwarg)
    shown = []
    for message in await with_prompt(parts, found):
        member = Member(message.agent_id, names.get(message.agent_id, ""))
        by_agent = message.role in (Role.ASSISTANT, Role.TOOL)
        shown += [_by(member)(wire) if by_agent else wire for wire in to_wire(message, options)]
    return reply(shown)


@router.patch("/groups/{group_id}/messages/{message_id}", response_model=None, responses=openapi.GONE, deprecated=True)
async def modify_group_message(parts: Parts, group_id: GroupId, message_id: MessageId) -> Response:
    """Refused on purpose: what was said is not rewritten."""
    raise NotAllowed("messages cannot be changed once they are sent: send another one, or reset the group's messages")


@router.patch("/groups/{group_id}/reset-messages", response_model=None)
async def reset_group_messages(parts: Parts, group_id: GroupId) -> Response:
    """Let every agent of the group start with an empty window. What was said stays stored and listed."""
    await parts.groups.reset(group_id, parts.agents)
    return reply(None)


async def _send(parts: Server, group_id: str, body: SendRequest, *, streaming: bool) -> Response:
    refuse_unbuilt(body)
    for name in ("busy_policy", "callback_url", "deadline_seconds"):
        if getattr(body, name) is not None:
            raise NotBuilt(f"{name}: not built yet for groups")
    if body.background:
        raise NotBuilt("background: following a group's turn later is not built yet; it goes on when its client leaves")
    if body.override_model is not None:
        parts.registry.resolve(body.override_model)
    turn = await parts.groups.start(group_id, body)
    options = sse.StreamOptions(
        wire_options(body), bool(body.stream_tokens), body.include_pings is not False, parts.settings.ping_interval
    )
    if not streaming:
        return reply(await _collect(turn, options.wire))
    frames = sse.relay(turn.log.batches(idle=options.ping_interval), _frames(turn, options), options)
    return sse.EventStream(frames, parts.settings.stream_patience)


async def _collect(turn: Turn, options: WireOptions) -> Wire:
    """The blocking answer. Raises letta.errors.LettaError: with the status and body of the failure."""
    finished = await turn.log.wait()
    if finished.failure is not None:
        raise sse.run_failed(finished.failure)
    shown = [
        _by(said.member)(wire)
        for said in turn.log.events
        if isinstance(said, Said) and isinstance(said.event, Committed)
        for message in said.event.messages
        if sse.is_shown(message, options)
        for wire in to_wire(message, options)
    ]
    return {
        "messages": shown,
        "stop_reason": sse.stop_reason(finished.stop_reason),
        "usage": sse.usage_statistics(turn.run_ids, finished.usage),
        "logprobs": None,
        "turns": None,
    }


def _frames(turn: Turn, options: sse.StreamOptions) -> Callable[[Said | Finished], list[bytes]]:
    """Encodes what happens in a turn; each run has an encoder of its own."""
    encoders: dict[str, sse.Encoder] = {}

    def frames(item: Said | Finished) -> list[bytes]:
        if isinstance(item, Finished):
            return sse.finish_frames(turn.run_ids, item)
        encoder = encoders.get(item.run_id)
        if encoder is None:
            encoder = encoders[item.run_id] = sse.Encoder(item.run_id, options, _by(item.member))
        return encoder.frames(item.event)

    return frames


def _by(member: Member) -> Callable[[Wire], Wire]:
    """Says in a message which agent of the group it is from. The `name` of a tool's result stays the tool's."""

    def marked(wire: Wire) -> Wire:
        name = wire["name"] if wire["message_type"] == "tool_return_message" else member.name
        return {**wire, "name": name, "sender_id": member.id}

    return marked


def _said_in(connection: Connection, group_id: str, page: Page) -> tuple[list[Message], dict[str, str]]:
    groups.get(connection, group_id)
    found = messages.in_group(connection, group_id, page.after, page.before, page.order, page.limit)
    return found, groups.names_of(connection, {message.agent_id for message in found})


def _of_agent(connection: Connection, agent_id: str, wanted: GroupFilter, page: Page) -> list[Group]:
    agents.require(connection, agent_id)
    return groups.list_page(connection, wanted, **page.arguments())
