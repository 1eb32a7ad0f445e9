"""Agents as rows, with their tags, blocks, tools and identities. Knows nothing of models, prompts or secrets' keys."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import ColumnElement, Connection, bindparam, delete, exists, func, insert, or_, select, update

from letta.errors import NotFound
from letta.schemas.agents import AgentState, Memory
from letta.schemas.blocks import Block
from letta.schemas.common import stored
from letta.schemas.compaction import CompactionSettings
from letta.schemas.llm_config import EmbeddingConfig, LLMConfig
from letta.schemas.model_settings import ModelSettings
from letta.schemas.response_format import ResponseFormat
from letta.schemas.tool_rules import ToolRule
from letta.schemas.tools import Tool
from letta.store import blocks, groups, identities, isolation, search, tools
from letta.store.conversations import Thread, thread
from letta.store.query import like, now, rows
from letta.store.tables import agent_archives, agent_blocks, agent_identities, agent_tags, agent_tools, agents
from letta.store.tables import identities as identity_rows

RELATIONS = frozenset(
    {"agent.blocks", "agent.identities", "agent.managed_group", "agent.secrets", "agent.tags", "agent.tools"}
)
"""The relations a list may include; the rest are empty until files exist."""

_by_id = select(agents).where(agents.c.id == bindparam("agent_id"))
# Statements of every step and every new agent, built once: building one costs as much as running it.
_insert = insert(agents)
_insert_tags = insert(agent_tags)
_insert_blocks = insert(agent_blocks)
_timezone = select(agents.c.timezone).where(agents.c.id == bindparam("agent_id"))
_note_run = update(agents).where(agents.c.id == bindparam("agent"))
_tags_of = (
    select(agent_tags)
    .where(agent_tags.c.agent_id.in_(bindparam("agent_ids", expanding=True)))
    .order_by(agent_tags.c.tag)
)
_forget_tags = delete(agent_tags).where(agent_tags.c.agent_id == bindparam("agent_id"))
_forget_blocks = delete(agent_blocks).where(agent_blocks.c.agent_id == bindparam("agent_id"))
_NESTED: dict[str, TypeAdapter[Any]] = {
    "llm_config": TypeAdapter(LLMConfig),
    "embedding_config": TypeAdapter(EmbeddingConfig),
    "compaction_settings": TypeAdapter(CompactionSettings),
    "model_settings": TypeAdapter(ModelSettings),
    "response_format": TypeAdapter(ResponseFormat),
    "tool_rules": TypeAdapter(list[ToolRule]),
}


@dataclass(frozen=True, slots=True)
class AgentFilter:
    """What to list; None and () do not filter. `tags`: any of them, or all; `all_tags`: all of these, besides."""

    name: str | None = None
    tags: Sequence[str] = ()
    match_all_tags: bool = False
    all_tags: Sequence[str] = ()
    without_id: str | None = None
    query_text: str | None = None
    project_id: str | None = None
    template_id: str | None = None
    base_template_id: str | None = None
    identity_id: str | None = None
    identifier_keys: Sequence[str] = ()
    last_stop_reason: str | None = None
    block_id: str | None = None
    tool_id: str | None = None
    archive_id: str | None = None
    name_contains: str | None = None
    show_hidden: bool = False


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All the model needs to know of an agent at one moment, and the version that tells whether it is still so."""

    agent: AgentState
    secrets: bytes | None
    version: int
    thread: Thread


def create(
    connection: Connection,
    values: dict[str, Any],
    tags: Iterable[str] = (),
    its_blocks: Sequence[Block] = (),
    its_tools: Sequence[Tool] = (),
) -> AgentState:
    """Store a new agent with its tags, and with blocks and tools that exist. Its other relations are added later."""
    moment = now()
    row = dict.fromkeys(agents.c.keys()) | values
    row |= {"version": 1, "created_at": moment, "updated_at": moment}
    connection.execute(_insert, row)
    own_tags = list(dict.fromkeys(tags))
    _add_tags(connection, values["id"], own_tags)
    _add_blocks(connection, values["id"], [str(block.id) for block in its_blocks])
    tools.give(connection, values["id"], [str(tool.id) for tool in its_tools])
    state = _state(row, list(its_blocks), list(its_tools), sorted(own_tags))
    state.managed_group = state.multi_agent_group = None
    return state


def require(connection: Connection, agent_id: str) -> None:
    """Raises letta.errors.NotFound."""
    if connection.execute(select(agents.c.id).where(agents.c.id == agent_id)).first() is None:
        raise NotFound(f"agent {agent_id} not found")


def get(connection: Connection, agent_id: str, include: Iterable[str] = RELATIONS) -> AgentState:
    """The agent with the relations asked for. Raises letta.errors.NotFound."""
    row = connection.execute(_by_id, {"agent_id": agent_id}).first()
    if row is None:
        raise NotFound(f"agent {agent_id} not found")
    return _states(connection, [row], frozenset(include))[0]


def secrets(connection: Connection, agent_id: str) -> bytes | None:
    """The agent's secrets as they are kept: encrypted."""
    found: bytes | None = connection.execute(select(agents.c.secrets).where(agents.c.id == agent_id)).scalar()
    return found


def list_page(
    connection: Connection, /, wanted: AgentFilter, include: Iterable[str], **paging: Any
) -> list[AgentState]:
    """One page of agents; paging as in `letta.store.query.rows`."""
    found = rows(connection, _filtered(select(agents), wanted), agents, **paging)
    return _states(connection, found, frozenset(include))


def count(connection: Connection, wanted: AgentFilter | None = None) -> int:
    query = select(func.count()).select_from(agents)
    return int(connection.execute(_filtered(query, wanted or AgentFilter(show_hidden=True))).scalar_one())


def timezone(connection: Connection, agent_id: str) -> str:
    """The agent's timezone, an IANA name. Raises letta.errors.NotFound."""
    zone: str | None = connection.execute(_timezone, {"agent_id": agent_id}).scalar()
    if zone is None:
        raise NotFound(f"agent {agent_id} not found")
    return zone


def any_exists(connection: Connection) -> bool:
    """Whether there is an agent: the cheapest question that shows that the database answers."""
    return connection.execute(select(agents.c.id).limit(1)).first() is not None


def change(connection: Connection, agent_id: str, values: dict[str, Any]) -> None:
    """Write columns and raise the version. Raises letta.errors.NotFound."""
    changed = update(agents).where(agents.c.id == agent_id)
    result = connection.execute(changed.values(**values, version=agents.c.version + 1, updated_at=now()))
    if result.rowcount == 0:
        raise NotFound(f"agent {agent_id} not found")


def remove(connection: Connection, agent_id: str) -> None:
    """Delete an agent with its conversations, messages, runs and steps. Raises letta.errors.NotFound."""
    search.forget_agent(connection, agent_id)
    isolation.forget(connection, agent_id=agent_id)
    if connection.execute(delete(agents).where(agents.c.id == agent_id)).rowcount == 0:
        raise NotFound(f"agent {agent_id} not found")


def write_tags(connection: Connection, agent_id: str, tags: Iterable[str]) -> None:
    """Make these the agent's tags."""
    connection.execute(_forget_tags, {"agent_id": agent_id})
    _add_tags(connection, agent_id, dict.fromkeys(tags))


def _add_tags(connection: Connection, agent_id: str, tags: Iterable[str]) -> None:
    if values := [{"agent_id": agent_id, "tag": tag} for tag in tags]:
        connection.execute(_insert_tags, values)


def write_blocks(connection: Connection, agent_id: str, block_ids: Iterable[str]) -> None:
    """Make these the blocks of the agent and of those it shares its memory with, in this order."""
    wanted = dict.fromkeys(block_ids)
    for holder in (agent_id, *blocks.sharing_memory(connection, agent_id)):
        connection.execute(_forget_blocks, {"agent_id": holder})
        _add_blocks(connection, holder, wanted)
        if holder != agent_id:
            blocks.touch(connection, holder)


def _add_blocks(connection: Connection, agent_id: str, block_ids: Iterable[str]) -> None:
    if values := [{"agent_id": agent_id, "block_id": one, "position": at} for at, one in enumerate(block_ids)]:
        connection.execute(_insert_blocks, values)


def snapshot(connection: Connection, agent_id: str, conversation_id: str) -> Snapshot:
    """The agent as it is in a conversation, with the blocks that are the conversation's own.

    Raises letta.errors.NotFound.
    """
    row = connection.execute(_by_id, {"agent_id": agent_id}).first()
    if row is None:
        raise NotFound(f"agent {agent_id} not found")
    agent = _states(connection, [row], frozenset({"agent.blocks", "agent.tools", "agent.tags"}))[0]
    if conversation_id != agent_id:
        copies = isolation.of_conversation(connection, conversation_id)
        agent.blocks = agent.memory.blocks = isolation.overlaid(agent.blocks, copies)
    return Snapshot(agent, row.secrets, row.version, thread(connection, conversation_id))


def note_run(connection: Connection, agent_id: str, *, stop_reason: str, completed_at: Any, duration_ms: int) -> None:
    """Remember how the last run ended; nothing the model sees, so the version stays."""
    values = {
        "last_stop_reason": stop_reason,
        "last_run_completion": completed_at,
        "last_run_duration_ms": duration_ms,
    }
    connection.execute(_note_run, {"agent": agent_id, **values})


def _states(connection: Connection, found: Sequence[Any], include: frozenset[str]) -> list[AgentState]:
    ids = [row.id for row in found]
    if not ids:
        return []
    blocks_of = blocks.of_agents(connection, ids) if "agent.blocks" in include else {}
    tools_of = tools.of_agents(connection, ids) if "agent.tools" in include else {}
    tags_of = _tags(connection, ids) if "agent.tags" in include else {}
    identities_of = identities.of_agents(connection, ids) if "agent.identities" in include else {}
    led_by = groups.led_by(connection, ids) if "agent.managed_group" in include else {}
    states = [
        _state(row._mapping, blocks_of.get(row.id, []), tools_of.get(row.id, []), tags_of.get(row.id, []))
        for row in found
    ]
    for state in states:
        state.identities = identities_of.get(state.id, [])
        state.identity_ids = [identity.id for identity in state.identities]
        state.managed_group = state.multi_agent_group = next(iter(led_by.get(state.id, ())), None)
    return states


def _state(row: Mapping[str, Any], its_blocks: list[Block], its_tools: list[Tool], tags: list[str]) -> AgentState:
    values = dict(row)
    for name, form in _NESTED.items():
        values[name] = None if values[name] is None else form.validate_python(values[name])
    for name in ("version", "context_window_limit"):
        values.pop(name)
    values["secrets"] = []
    values["memory"] = stored(
        Memory,
        {
            "blocks": its_blocks,
            "file_blocks": [],
            "agent_type": values["agent_type"],
            "git_enabled": False,
            "prompt_template": "",
        },
    )
    return stored(
        AgentState,
        {
            **values,
            "blocks": its_blocks,
            "tools": its_tools,
            "tags": tags,
            "sources": [],
            "tool_exec_environment_variables": [],
            "identities": [],
            "identity_ids": [],
        },
    )


def _tags(connection: Connection, ids: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for agent_id, tag in connection.execute(_tags_of, {"agent_ids": ids}):
        found.setdefault(agent_id, []).append(tag)
    return found


def _filtered(query: Any, wanted: AgentFilter) -> Any:
    for column, value in (
        (agents.c.name, wanted.name),
        (agents.c.project_id, wanted.project_id),
        (agents.c.template_id, wanted.template_id),
        (agents.c.base_template_id, wanted.base_template_id),
        (agents.c.last_stop_reason, wanted.last_stop_reason),
    ):
        if value is not None:
            query = query.where(column == value)
    if not wanted.show_hidden:
        query = query.where(agents.c.hidden.is_(False))
    if wanted.query_text is not None:
        pattern = like(wanted.query_text)
        query = query.where(
            or_(agents.c.name.ilike(pattern, escape="\\"), agents.c.description.ilike(pattern, escape="\\"))
        )
    if wanted.name_contains is not None:
        query = query.where(agents.c.name.ilike(like(wanted.name_contains), escape="\\"))
    return _related(query, wanted)


def _has(tag: str) -> ColumnElement[bool]:
    return exists().where(agent_tags.c.agent_id == agents.c.id, agent_tags.c.tag == tag)


def _related(query: Any, wanted: AgentFilter) -> Any:
    tagged = [_has(tag) for tag in wanted.tags]
    if tagged:
        query = query.where(*tagged) if wanted.match_all_tags else query.where(or_(*tagged))
    query = query.where(*(_has(tag) for tag in wanted.all_tags))
    if wanted.without_id is not None:
        query = query.where(agents.c.id != wanted.without_id)
    if wanted.block_id is not None:
        query = query.where(
            exists().where(agent_blocks.c.agent_id == agents.c.id, agent_blocks.c.block_id == wanted.block_id)
        )
    if wanted.archive_id is not None:
        query = query.where(
            exists().where(agent_archives.c.agent_id == agents.c.id, agent_archives.c.archive_id == wanted.archive_id)
        )
    if wanted.tool_id is not None:
        query = query.where(
            exists().where(agent_tools.c.agent_id == agents.c.id, agent_tools.c.tool_id == wanted.tool_id)
        )
    mine = agent_identities.c.agent_id == agents.c.id
    if wanted.identity_id is not None:
        query = query.where(exists().where(mine, agent_identities.c.identity_id == wanted.identity_id))
    if wanted.identifier_keys:
        same = identity_rows.c.id == agent_identities.c.identity_id
        query = query.where(
            exists().where(mine, same, identity_rows.c.identifier_key.in_(list(wanted.identifier_keys)))
        )
    return query
