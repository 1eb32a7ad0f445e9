"""Agents: `/v1/agents`, with what is attached to each."""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import Depends, Query, Response

from letta.api import routes
from letta.api.context import (
    AgentId,
    BlockId,
    IdentityId,
    Page,
    Parts,
    Server,
    ToolId,
    paging,
    reply,
)
from letta.api.wire import to_wire
from letta.errors import InvalidValue, NotFound
from letta.runtime import grouping
from letta.runtime.context_report import context_report
from letta.runtime.creation import attach_with_rules, set_approval, shown_secrets
from letta.runtime.prompts import current_prompt
from letta.schemas.agents import (
    AgentInclude,
    AgentOrderBy,
    AgentSearch,
    AgentSearchResponse,
    AgentState,
    ContextWindowOverview,
    CreateAgent,
    Memory,
    UpdateAgent,
)
from letta.schemas.blocks import Block, UpdateBlock
from letta.schemas.messages import Message
from letta.schemas.runs import StopReason
from letta.schemas.tools import Tool, ToolApproval, ToolExecutionResult, ToolRun
from letta.store import agents, blocks, conversations, identities, messages, runs, tools
from letta.store.agents import AgentFilter

router = routes.router(prefix="/v1/agents", tags=["agents"])

Texts = Annotated[list[str] | None, Query()]
Include = Annotated[list[AgentInclude] | None, Query()]
Agents = Annotated[Page, Depends(paging(sorts=tuple(AgentOrderBy)))]


async def _filter(
    name: str | None = None,
    tags: Texts = None,
    match_all_tags: bool = False,
    query_text: str | None = None,
    project_id: str | None = None,
    template_id: str | None = None,
    base_template_id: str | None = None,
    identity_id: str | None = None,
    identifier_keys: Texts = None,
    last_stop_reason: StopReason | None = None,
    show_hidden_agents: bool | None = None,
    created_by_id: Annotated[str | None, Query(description="Accepted and ignored: there is one user")] = None,
) -> AgentFilter:
    return AgentFilter(
        name=name,
        tags=tags or (),
        match_all_tags=match_all_tags,
        query_text=query_text,
        project_id=project_id,
        template_id=template_id,
        base_template_id=base_template_id,
        identity_id=identity_id,
        identifier_keys=identifier_keys or (),
        last_stop_reason=last_stop_reason,
        show_hidden=bool(show_hidden_agents),
    )


async def _included(include: Include = None, include_relationships: Texts = None) -> frozenset[str]:
    """The relations to load. Nobody asking for any means all: clients of every age understand that."""
    asked = {item.value for item in include or ()} | {f"agent.{name}" for name in include_relationships or ()}
    return frozenset(asked) if include is not None or include_relationships is not None else agents.RELATIONS


Included = Annotated[frozenset[str], Depends(_included)]


def _conditions(body: AgentSearch) -> AgentFilter:
    """The conditions of a search as a filter. Templates and versions are not kept, so asking for one finds nothing."""
    found: dict[str, Any] = {"project_id": body.project_id, "show_hidden": False}
    for term in body.search:
        values = term.value if isinstance(term.value, list) else [term.value]
        if not values:
            raise InvalidValue(f"search: the condition on {term.field} names no value")
        match term.field:
            case "name":
                found["name" if term.operator == "eq" else "name_contains"] = values[0]
            case "tags":
                found |= {"tags": values, "match_all_tags": True}
            case "identity":
                found["identity_id"] = values[0]
            case "templateName" | "version":
                found["template_id"] = values[0]
    return AgentFilter(**found)


@router.post("", response_model=AgentState)
async def create_agent(parts: Parts, body: CreateAgent) -> Response:
    return reply(await parts.agents.create(body))


@router.get("", response_model=list[AgentState])
async def list_agents(
    parts: Parts, wanted: Annotated[AgentFilter, Depends(_filter)], page: Agents, include: Included
) -> Response:
    return reply(await parts.database.read(agents.list_page, wanted, include, **page.arguments()))


@router.get("/count", response_model=int)
async def count_agents(parts: Parts) -> Response:
    return reply(await parts.database.read(agents.count))


@router.post("/search", response_model=AgentSearchResponse)
async def search_agents(parts: Parts, body: AgentSearch) -> Response:
    """Agents for which all conditions hold."""
    found = await parts.database.read(
        agents.list_page,
        _conditions(body),
        agents.RELATIONS,
        sort=body.sort_by,
        order="asc" if body.ascending else "desc",
        after=body.after,
        limit=body.limit + 1,
    )
    shown = found[: body.limit]
    following = shown[-1].id if len(found) > body.limit else None
    return reply(AgentSearchResponse(agents=shown, nextCursor=following))


@router.get("/{agent_id}", response_model=AgentState)
async def retrieve_agent(parts: Parts, agent_id: AgentId, include: Included) -> Response:
    return reply(await full_state(parts, agent_id, include))


@router.patch("/{agent_id}", response_model=AgentState)
async def update_agent(parts: Parts, agent_id: AgentId, body: UpdateAgent) -> Response:
    if body.enable_sleeptime is False:
        await _stop(parts, await parts.database.read(grouping.sleeptime_agents, agent_id))
    return reply(await completed(parts, await parts.agents.update(agent_id, body)))


@router.delete("/{agent_id}", response_model=dict[str, Any])
async def delete_agent(parts: Parts, agent_id: AgentId) -> Response:
    """Delete an agent with its conversations, messages, runs and steps, and its sleep-time agent with it.

    Its blocks stay: others may share them.
    """
    asleep = await parts.database.read(grouping.sleeptime_agents, agent_id)
    parts.groups.leave([agent_id, *asleep])
    await _stop(parts, [agent_id, *asleep])
    await parts.database.write(grouping.remove_agent, agent_id)
    return reply({"message": f"Agent id={agent_id} successfully deleted"})


@router.post("/{agent_id}/recompile", response_model=str)
async def recompile_agent(parts: Parts, agent_id: AgentId, dry_run: bool = False) -> Response:
    """The system prompt as the next request will carry it. It is always compiled anew, so there is nothing to store."""
    return reply(await current_prompt(parts.database, agent_id, agent_id))


@router.get("/{agent_id}/context", response_model=ContextWindowOverview)
async def retrieve_context(parts: Parts, agent_id: AgentId, conversation_id: str | None = None) -> Response:
    """What fills the agent's context window, in tokens and as text."""
    chosen = agent_id if conversation_id in (None, "default") else conversation_id
    return reply(await context_report(parts.database, parts.registry, agent_id, chosen))


@router.patch("/{agent_id}/reset-messages", response_model=AgentState)
async def reset_messages(
    parts: Parts, agent_id: AgentId, body: dict[str, Any] | None = None, add_default_initial_messages: bool = False
) -> Response:
    """Start with an empty window. What was said stays stored, listed and searchable."""
    opening = bool((body or {}).get("add_default_initial_messages", add_default_initial_messages))
    await parts.agents.reset(agent_id, opening=opening)
    return reply(await full_state(parts, agent_id, agents.RELATIONS))


# -- memory ------------------------------------------------------------------------------------------------------------


@router.get("/{agent_id}/core-memory", response_model=Memory)
async def retrieve_core_memory(parts: Parts, agent_id: AgentId) -> Response:
    """The agent's blocks in their older place."""
    return reply((await parts.database.read(agents.get, agent_id, ("agent.blocks",))).memory)


@router.get("/{agent_id}/core-memory/variables", response_model=dict[str, Any])
async def retrieve_memory_variables(parts: Parts, agent_id: AgentId) -> Response:
    """Variables of templates: filled in when an agent is made, and not kept."""
    await parts.database.read(agents.require, agent_id)
    return reply({"variables": {}})


@router.get("/{agent_id}/core-memory/blocks", response_model=list[Block])
async def list_agent_blocks(
    parts: Parts, agent_id: AgentId, page: Annotated[Page, Depends(paging(limit=100, order="asc"))]
) -> Response:
    return reply(await parts.database.read(_page_of, blocks.agent_page, agent_id, page))


@router.patch("/{agent_id}/core-memory/blocks/attach/{block_id}", response_model=AgentState)
async def attach_block(parts: Parts, agent_id: AgentId, block_id: BlockId) -> Response:
    return await _attached(parts, agent_id, blocks.attach, block_id)


@router.patch("/{agent_id}/core-memory/blocks/detach/{block_id}", response_model=AgentState)
async def detach_block(parts: Parts, agent_id: AgentId, block_id: BlockId) -> Response:
    return await _attached(parts, agent_id, blocks.detach, block_id)


# A label may hold slashes, so these come after the paths above.
@router.get("/{agent_id}/core-memory/blocks/{block_label:path}", response_model=Block)
async def retrieve_agent_block(parts: Parts, agent_id: AgentId, block_label: str) -> Response:
    return reply(await parts.database.read(_labelled, agent_id, block_label))


@router.patch("/{agent_id}/core-memory/blocks/{block_label:path}", response_model=Block)
async def update_agent_block(parts: Parts, agent_id: AgentId, block_label: str, body: UpdateBlock) -> Response:
    return reply(await parts.database.write(_change_labelled, agent_id, block_label, body))


# -- tools and identities ----------------------------------------------------------------------------------------------


@router.get("/{agent_id}/tools", response_model=list[Tool])
async def list_agent_tools(
    parts: Parts, agent_id: AgentId, page: Annotated[Page, Depends(paging(limit=10))]
) -> Response:
    return reply(await parts.database.read(_page_of, tools.agent_page, agent_id, page))


@router.patch("/{agent_id}/tools/attach/{tool_id}", response_model=AgentState)
async def attach_tool(parts: Parts, agent_id: AgentId, tool_id: ToolId) -> Response:
    return await _attached(parts, agent_id, attach_with_rules, tool_id)


@router.patch("/{agent_id}/tools/detach/{tool_id}", response_model=AgentState)
async def detach_tool(parts: Parts, agent_id: AgentId, tool_id: ToolId) -> Response:
    return await _attached(parts, agent_id, tools.detach, tool_id)


@router.patch("/{agent_id}/tools/approval/{tool_name}", response_model=AgentState)
async def update_tool_approval(parts: Parts, agent_id: AgentId, tool_name: str, body: ToolApproval) -> Response:
    """Let calls of this tool wait for a person's approval, or no longer."""
    await parts.database.write(set_approval, agent_id, tool_name, required=body.requires_approval)
    return reply(await full_state(parts, agent_id, agents.RELATIONS))


@router.post("/{agent_id}/tools/{tool_name}/run", response_model=ToolExecutionResult)
async def run_agent_tool(parts: Parts, agent_id: AgentId, tool_name: str, body: ToolRun | None = None) -> Response:
    """Call one of the agent's tools as the agent would, outside of its conversations."""
    agent = await parts.database.read(agents.get, agent_id, agents.RELATIONS)
    tool = next((tool for tool in agent.tools if tool.name == tool_name), None)
    if tool is None:
        having = ", ".join(str(tool.name) for tool in agent.tools) or "none"
        raise NotFound(f"agent {agent_id} has no tool called {tool_name!r} (its tools: {having})")
    return reply(await parts.code.answer(agent, tool, body.args if body else {}))


@router.patch("/{agent_id}/identities/attach/{identity_id}", response_model=None)
async def attach_identity(parts: Parts, agent_id: AgentId, identity_id: IdentityId) -> Response:
    await _attached(parts, agent_id, identities.attach, identity_id)
    return reply(None)


@router.patch("/{agent_id}/identities/detach/{identity_id}", response_model=None)
async def detach_identity(parts: Parts, agent_id: AgentId, identity_id: IdentityId) -> Response:
    await _attached(parts, agent_id, identities.detach, identity_id)
    return reply(None)


# -- what several routes need ------------------------------------------------------------------------------------------


async def full_state(parts: Server, agent_id: str, include: frozenset[str]) -> AgentState:
    """The agent with the relations asked for, and what `completed` adds."""
    return await completed(parts, await parts.database.read(agents.get, agent_id, include), include)


async def completed(parts: Server, state: AgentState, include: frozenset[str] = agents.RELATIONS) -> AgentState:
    """The agent with the messages in its window and the names of its secrets; their values stay hidden."""
    state.message_ids, locked, pending = await parts.database.read(_window_and_secrets, state.id)
    if pending is not None and ("agent.pending_approval" in include or include == agents.RELATIONS):
        state.pending_approval = next(
            wire for wire in to_wire(pending) if wire["message_type"] == "approval_request_message"
        )
    if "agent.secrets" in include:
        state.secrets = state.tool_exec_environment_variables = shown_secrets(state.id, parts.vault.open(locked))
    return state


def _window_and_secrets(connection: Any, agent_id: str) -> tuple[list[str], bytes | None, Message | None]:
    thread = conversations.thread(connection, agent_id)
    pending = messages.get(connection, thread.pending_message_id) if thread.pending_message_id else None
    return messages.ids_in_window(connection, thread), agents.secrets(connection, agent_id), pending


async def _stop(parts: Server, agent_ids: Sequence[str]) -> None:
    """Cancel whatever these agents are doing."""
    for agent_id in agent_ids:
        if active := await parts.database.read(runs.open_ids, None, agent_id):
            await parts.runner.cancel(active)


def _page_of(connection: Any, list_page: Any, agent_id: str, page: Page) -> Any:
    agents.require(connection, agent_id)
    return list_page(connection, agent_id, **page.arguments())


def _labelled(connection: Any, agent_id: str, label: str) -> Block:
    agents.require(connection, agent_id)
    return blocks.labelled(connection, agent_id, label)


def _change_labelled(connection: Any, agent_id: str, label: str, body: UpdateBlock) -> Block:
    return blocks.change(connection, _labelled(connection, agent_id, label).id, body.changes())


async def _attached(parts: Server, agent_id: str, change: Any, other_id: str) -> Response:
    def apply(connection: Any) -> AgentState:
        agents.require(connection, agent_id)
        change(connection, agent_id, other_id)
        return agents.get(connection, agent_id)

    return reply(await completed(parts, await parts.database.write(apply)))
