"""How an agent comes to be and how it is changed: defaults by type, its model, memory, tools, rules and opening."""

import random
import re
from collections.abc import Iterable
from typing import Any

import orjson
from sqlalchemy import Connection

from letta.errors import InvalidValue, NotBuilt, NotFound
from letta.memory.personas import BLOCK_DESCRIPTIONS, SYSTEM_PROMPTS
from letta.models.embeddings import config_of
from letta.models.registry import Registry
from letta.runtime import grouping
from letta.runtime.compact import check_writer
from letta.runtime.transcript import parts_of
from letta.schemas.agents import AgentSecret, AgentState, AgentType, CreateAgent, UpdateAgent
from letta.schemas.blocks import Block, CreateBlock
from letta.schemas.common import new_id
from letta.schemas.llm_config import LLMConfig
from letta.schemas.messages import Message, Role, ToolCallPart, ToolReturnPart
from letta.schemas.sends import MessageInput
from letta.schemas.tool_rules import ContinueToolRule, RequiresApprovalToolRule, TerminalToolRule, ToolRule
from letta.schemas.tools import Tool
from letta.store import agents, blocks, conversations, identities, messages, pieces, search, tools
from letta.store.access import Database
from letta.store.query import now
from letta.store.tables import agents as agent_rows
from letta.store.vault import Vault
from letta.tools import builtin

HIDDEN = "********"
"""Shown instead of the value of a secret: secrets never leave the server."""

_ADJECTIVES = (
    "Amber",
    "Brave",
    "Calm",
    "Clever",
    "Gentle",
    "Keen",
    "Lucky",
    "Mellow",
    "Quiet",
    "Swift",
    "Sunny",
    "Wise",
)
_NOUNS = ("Badger", "Falcon", "Finch", "Heron", "Lynx", "Maple", "Otter", "Raven", "River", "Robin", "Willow", "Wren")
_VARIABLE = re.compile(r"\{\{\s*([\w.-]+)\s*\}\}")
_WITH_BASE_RULES = frozenset(
    {AgentType.MEMGPT_AGENT, AgentType.MEMGPT_V2_AGENT, AgentType.SLEEPTIME_AGENT, AgentType.SPLIT_THREAD_AGENT}
)
_LEAVE_MEMORY = frozenset({AgentType.MEMGPT_AGENT, AgentType.MEMGPT_V2_AGENT, AgentType.SPLIT_THREAD_AGENT})
_WITHOUT_MEMORY = ("send_message", "conversation_search", "archival_memory_search")
# Fields of a request that are columns of the agent's row as they are.
_PLAIN = (
    "name", "description", "system", "timezone", "hidden", "project_id", "template_id", "base_template_id",
    "max_files_open", "per_file_view_window_char_limit", "enable_sleeptime", "message_buffer_autoclear",
    "metadata", "response_format", "compaction_settings", "model_settings", "context_window_limit",
    "last_run_completion", "last_run_duration_ms", "last_stop_reason", "busy_policy",
)  # fmt: skip


class Agents:
    """Makes and changes agents. Holds no state of its own."""

    def __init__(self, database: Database, registry: Registry, vault: Vault, default_embedding: str | None) -> None:
        self._database = database
        self._registry = registry
        self._vault = vault
        self._default_embedding = default_embedding

    async def create(self, request: CreateAgent) -> AgentState:
        """Make an agent with everything it needs, in one transaction.

        Raises:
            letta.errors.InvalidRequest: no model given and none is the default; the message names the options.
            letta.errors.NotFound: unknown model, block, tool or identity.
            letta.errors.InvalidValue: a block value over its limit.
            letta.errors.NotBuilt: for parts of the API this version does not serve.
        """
        _refuse_unbuilt(request)
        await check_writer(self._registry, request.compaction_settings)
        embedding = request.embedding or self._default_embedding
        values = self._columns(request)
        values |= await self._model_columns(request, request.model or self._registry.default_handle())
        values |= {"embedding": embedding, "embedding_config": _embedding_config(request, embedding)}
        values |= {
            "id": new_id("agent"),
            "agent_type": request.agent_type,
            "name": request.name or f"{random.choice(_ADJECTIVES)}{random.choice(_NOUNS)}",  # noqa: S311 - a name
            "system": request.system if request.system is not None else SYSTEM_PROMPTS[request.agent_type],
            "timezone": request.timezone or "UTC",
            "message_buffer_autoclear": request.message_buffer_autoclear
            or request.agent_type is AgentType.WORKFLOW_AGENT,
            "hidden": bool(request.hidden),
            "secrets": self._vault.lock(request.secrets) if request.secrets else None,
        }
        state = await self._database.write(_store_new, values, request)
        state.secrets = state.tool_exec_environment_variables = shown_secrets(state.id, request.secrets or ())
        return state

    async def update(self, agent_id: str, request: UpdateAgent) -> AgentState:
        """Apply the fields that were sent. Raises as `create`, and letta.errors.NotFound for the agent."""
        _refuse_unbuilt(request)
        await check_writer(self._registry, request.compaction_settings)
        sent = request.model_fields_set
        values = {key: value for key, value in self._columns(request).items() if key in sent}
        changes_model = sent & {
            "model",
            "llm_config",
            "context_window_limit",
            "max_tokens",
            "parallel_tool_calls",
            "reasoning",
        }
        if changes_model:
            current = await self._database.read(agents.get, agent_id, ())
            base = current.llm_config if request.llm_config is None and request.model in (None, current.model) else None
            values |= await self._model_columns(request, request.model or str(current.model), base)
        if sent & {"embedding", "embedding_config"}:
            values["embedding"] = request.embedding
            values["embedding_config"] = _embedding_config(request, request.embedding)
        if "hidden" in sent:
            values["hidden"] = bool(request.hidden)
        if "secrets" in sent:
            values["secrets"] = await self._secrets(agent_id, request.secrets or {})
        return await self._database.write(_store_changes, agent_id, values, request)

    async def _secrets(self, agent_id: str, given: dict[str, str]) -> bytes | None:
        """The secrets to keep: what was only shown as hidden and comes back like that keeps its value."""
        kept = self._vault.open(await self._database.read(agents.secrets, agent_id))
        wanted = {key: kept.get(key, "") if value == HIDDEN else value for key, value in given.items()}
        return self._vault.lock(wanted) if wanted else None

    async def reset(self, agent_id: str, *, opening: bool) -> None:
        """Empty the agent's window; with `opening` it starts as it did when the agent was made.

        Raises:
            letta.errors.NotFound: no such agent.
        """
        await self._database.write(_reset, agent_id, opening)

    @staticmethod
    def _columns(request: CreateAgent | UpdateAgent) -> dict[str, Any]:
        dumped = request.model_dump(mode="python", include=set(_PLAIN))
        for name in ("response_format", "compaction_settings", "model_settings"):
            value = getattr(request, name)
            dumped[name] = (
                None if value is None else value.model_dump(mode="json", exclude_none=name != "response_format")
            )
        if request.tool_rules is not None:
            dumped["tool_rules"] = [rule.model_dump(mode="json") for rule in request.tool_rules]
        return dumped

    async def _model_columns(
        self, request: CreateAgent | UpdateAgent, handle: str, base: LLMConfig | None = None
    ) -> dict[str, Any]:
        """The handle and the long form of the model, with the request's own options over the model's."""
        resolved = await self._registry.find(handle)
        if base is None:
            given = request.llm_config.model_dump(exclude_none=True) if request.llm_config else {}
            known = resolved.info.model_dump(exclude_none=True)
            fields = {name: known[name] for name in LLMConfig.model_fields if name in known} | given
            base = LLMConfig.model_validate(fields | {"handle": resolved.handle})
        config = base.model_dump(mode="json", exclude_none=True)
        limit = request.context_window_limit
        if limit is None and request.llm_config is None:
            limit = config["context_window"]
        config["context_window"] = min(limit or config["context_window"], resolved.context_window)
        for name, value in (
            ("max_tokens", request.max_tokens),
            ("parallel_tool_calls", request.parallel_tool_calls),
            (
                "enable_reasoner",
                request.reasoning if request.reasoning is not None else getattr(request, "enable_reasoner", None),
            ),
            ("max_reasoning_tokens", getattr(request, "max_reasoning_tokens", None)),
        ):
            if value is not None:
                config[name] = value
        return {"model": resolved.handle, "llm_config": config}


def shown_secrets(agent_id: str, names: Iterable[str]) -> list[AgentSecret]:
    """An agent's secrets as they are shown: their names only."""
    return [AgentSecret(agent_id=agent_id, key=name, value=HIDDEN) for name in sorted(names)]


def _refuse_unbuilt(request: CreateAgent | UpdateAgent) -> None:
    for name in ("source_ids", "folder_ids", "from_template"):
        if getattr(request, name, None):
            raise NotBuilt(f"{name} is not built yet")


def _embedding_config(request: CreateAgent | UpdateAgent, handle: str | None) -> dict[str, Any] | None:
    config = request.embedding_config or config_of(handle)
    return None if config is None else config.model_dump(mode="json", exclude_none=True)


# -- in one transaction ------------------------------------------------------------------------------------------------


def _store_new(connection: Connection, values: dict[str, Any], request: CreateAgent) -> AgentState:
    agent_id: str = values["id"]
    its_tools = _tools(connection, request)
    rules = list(request.tool_rules or ()) if request.tool_rules is not None else _base_rules(request, its_tools)
    rules += [
        RequiresApprovalToolRule(tool_name=str(tool.name))
        for tool in its_tools
        if tool.default_requires_approval and not any(_asks_for(rule, str(tool.name)) for rule in rules)
    ]
    values["tool_rules"] = [rule.model_dump(mode="json") for rule in rules]
    given = blocks.require_all(connection, list(dict.fromkeys(request.block_ids or ())))
    its_blocks = [*given, *blocks.create_all(connection, _new_blocks(request))]
    _check_labels(its_blocks)
    columns = {key: value for key, value in values.items() if key in agent_rows.c}
    state = agents.create(connection, columns, request.tags or (), its_blocks, its_tools)
    for identity_id in request.identity_ids or ():
        identities.attach(connection, agent_id, identity_id)
    opening = _opening(agent_id, request)
    conversations.start(connection, agent_id, agent_id, next_position=len(opening))
    messages.add(connection, opening)
    search.index(connection, opening)
    if request.enable_sleeptime:
        grouping.pair(connection, agent_id)
    if request.enable_sleeptime or request.identity_ids:
        state = agents.get(connection, agent_id)
    state.message_ids = [message.id for message in opening]
    return state


def _store_changes(connection: Connection, agent_id: str, values: dict[str, Any], request: UpdateAgent) -> AgentState:
    before = agents.get(connection, agent_id, ()).embedding if "embedding" in values else None
    agents.change(connection, agent_id, {key: value for key, value in values.items() if key in agent_rows.c})
    if "embedding" in values and values["embedding"] != before:
        pieces.set_model(connection, agent_id, values["embedding"])
    if request.tags is not None:
        agents.write_tags(connection, agent_id, request.tags)
    if request.block_ids is not None:
        _check_labels(blocks.require_all(connection, list(dict.fromkeys(request.block_ids))))
        agents.write_blocks(connection, agent_id, request.block_ids)
    if request.tool_ids is not None:
        tools.replace_all(connection, agent_id, request.tool_ids)
    if request.identity_ids is not None:
        _write_identities(connection, agent_id, request.identity_ids)
    if request.enable_sleeptime is not None:
        wanted = grouping.pair if request.enable_sleeptime else grouping.unpair
        wanted(connection, agent_id)
    return agents.get(connection, agent_id)


def _write_identities(connection: Connection, agent_id: str, wanted: Iterable[str]) -> None:
    having = {identity.id for identity in identities.of_agents(connection, [agent_id]).get(agent_id, [])}
    for identity_id in having - set(wanted):
        identities.detach(connection, agent_id, identity_id)
    for identity_id in wanted:
        identities.attach(connection, agent_id, identity_id)


def set_approval(connection: Connection, agent_id: str, tool_name: str, *, required: bool) -> None:
    """Add or remove the rule that a person approves each call of a tool.

    Raises:
        letta.errors.NotFound: no such agent, or the agent has no such tool.
    """
    agent = agents.get(connection, agent_id, ("agent.tools",))
    if tool_name not in {tool.name for tool in agent.tools}:
        raise NotFound(f"agent {agent_id} has no tool called {tool_name!r}")
    kept = [rule for rule in agent.tool_rules or () if not _asks_for(rule, tool_name)]
    if required:
        kept.append(RequiresApprovalToolRule(tool_name=tool_name))
    agents.change(connection, agent_id, {"tool_rules": [rule.model_dump(mode="json") for rule in kept]})


def attach_with_rules(connection: Connection, agent_id: str, tool_id: str) -> None:
    """Give the agent a tool, and the rule that comes with it. Raises letta.errors.NotFound."""
    tools.attach(connection, agent_id, tool_id)
    tool = tools.get(connection, tool_id)
    if tool.default_requires_approval:
        set_approval(connection, agent_id, str(tool.name), required=True)


def _asks_for(rule: ToolRule, tool_name: str) -> bool:
    return isinstance(rule, RequiresApprovalToolRule) and rule.tool_name == tool_name


def _tools(connection: Connection, request: CreateAgent) -> list[Tool]:
    """The tools asked for by name, then those by id, each once."""
    names = list(_base_tools(request)) if request.include_base_tools else []
    names += builtin.MULTI_AGENT if request.include_multi_agent_tools else ()
    names += request.tools or ()
    known = {tool.name: tool for tool in tools.named(connection, names)} if names else {}
    missing = [name for name in names if name not in known]
    if missing:
        raise NotFound(f"tools: there is no tool called {missing[0]!r}")
    found = [*(known[name] for name in names), *tools.with_ids(connection, list(dict.fromkeys(request.tool_ids or ())))]
    return list({tool.id: tool for tool in found}.values())


def _base_tools(request: CreateAgent) -> tuple[str, ...]:
    """The tools of the agent's type. Heartbeat agents with sleep-time memory leave their blocks to the other agent."""
    if request.enable_sleeptime and request.agent_type in _LEAVE_MEMORY:
        return tuple(name for name in _WITHOUT_MEMORY if name in builtin.BY_NAME)
    return builtin.default_tools(request.agent_type)


def _base_rules(request: CreateAgent, its_tools: Iterable[Tool]) -> list[ToolRule]:
    wanted = request.include_base_tool_rules
    if wanted is None:
        wanted = request.agent_type in _WITH_BASE_RULES
    if not wanted:
        return []
    return [
        TerminalToolRule(tool_name=name) if name in builtin.TERMINAL else ContinueToolRule(tool_name=name)
        for name in (str(tool.name) for tool in its_tools)
        if name in builtin.BY_NAME
    ]


def _new_blocks(request: CreateAgent) -> list[CreateBlock]:
    made = []
    for block in request.memory_blocks or ():
        value = _filled(block.value, request.memory_variables or {})
        description = block.description if block.description is not None else BLOCK_DESCRIPTIONS.get(block.label)
        made.append(CreateBlock.model_validate({**block.model_dump(), "value": value, "description": description}))
    return made


def _filled(text: str, variables: dict[str, str]) -> str:
    return _VARIABLE.sub(lambda match: variables.get(match[1], match[0]), text)


def _check_labels(its_blocks: Iterable[Block]) -> None:
    seen: set[str] = set()
    for block in its_blocks:
        if block.label in seen:
            raise InvalidValue(
                f"two blocks are labelled {block.label!r}: each label of an agent's memory must be its own"
            )
        seen.add(str(block.label))


# -- the opening of a conversation -------------------------------------------------------------------------------------


def _opening(agent_id: str, request: CreateAgent) -> list[Message]:
    """The place of the system prompt, then what the agent is born with."""
    prompt = _message(agent_id, Role.SYSTEM, [], {"compiled": True})
    if request.initial_message_sequence is not None:
        made = [_given(agent_id, item) for item in request.initial_message_sequence]
    else:
        made = default_opening(agent_id, request.agent_type)
    opening = [prompt, *made]
    for position, message in enumerate(opening):
        message.position = position
    return opening


def _reset(connection: Connection, agent_id: str, opening: bool) -> None:
    thread = conversations.thread(connection, agent_id)
    start = thread.next_position
    agent = agents.get(connection, agent_id, ())
    new = default_opening(agent_id, agent.agent_type) if opening else []
    for number, message in enumerate(new):
        message.position = start + number
    messages.add(connection, new)
    search.index(connection, new)
    conversations.move_window(connection, agent_id, start, None, next_position=start + len(new))


def default_opening(agent_id: str, agent_type: AgentType) -> list[Message]:
    """What an agent of a type is born with: heartbeat agents see once how a reply is sent, the others nothing."""
    if agent_type not in (AgentType.MEMGPT_AGENT, AgentType.MEMGPT_V2_AGENT, AgentType.SPLIT_THREAD_AGENT):
        return []
    style = {"style": "heartbeat"}
    arguments = {"thinking": "I am awake. I greet whoever is there.", "message": "Hello! I am here."}
    call = ToolCallPart(id="call_opening", name="send_message", arguments=orjson.dumps(arguments).decode())
    result = ToolReturnPart(tool_call_id=call.id, name=call.name, content="Sent message successfully.")
    return [
        _message(agent_id, Role.ASSISTANT, [call], {**style, "reply": arguments["message"]}),
        _message(agent_id, Role.TOOL, [result], style),
    ]


def _given(agent_id: str, item: MessageInput) -> Message:
    message = _message(agent_id, Role(item.role), parts_of(item.content), None)
    return message.model_copy(update={"name": item.name, "otid": item.otid, "sender_id": item.sender_id})


def _message(agent_id: str, role: Role, parts: list[Any], data: dict[str, Any] | None) -> Message:
    return Message(
        id=new_id("message"),
        role=role,
        parts=parts,
        agent_id=agent_id,
        conversation_id=agent_id,
        created_at=now(),
        data=data,
    )
