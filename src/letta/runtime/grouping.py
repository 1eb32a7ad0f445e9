"""How groups come to be, change and go, with all that hangs on them, each in one transaction.

An agent with sleep-time memory leads a group whose only member is its sleep-time agent: the two have the same blocks
and go together. An agent that supervises a group has the tool to ask the others. Turns are not known here.
"""

from typing import Any

from pydantic import BaseModel
from sqlalchemy import Connection

from letta.errors import Conflict, InvalidValue, NotBuilt
from letta.memory.personas import SYSTEM_PROMPTS
from letta.schemas.agents import AgentState, AgentType
from letta.schemas.common import new_id
from letta.schemas.groups import CreateGroup, Group, ManagerType, SleeptimeManager, SleeptimeManagerUpdate, UpdateGroup
from letta.schemas.messages import Message, Role
from letta.schemas.tool_rules import ContinueToolRule, TerminalToolRule
from letta.store import agents, conversations, groups, messages, tools
from letta.store.query import now
from letta.tools import builtin

# -- sleep-time memory -------------------------------------------------------------------------------------------------


def pair(connection: Connection, agent_id: str) -> None:
    """Give the agent a sleep-time agent, if it has none.

    Raises:
        letta.errors.InvalidValue: the agent is a sleep-time agent itself.
        letta.errors.NotBuilt: the agent is a voice agent.
        letta.errors.NotFound: no such agent.
    """
    main = agents.get(connection, agent_id, ("agent.blocks",))
    if main.agent_type in (AgentType.SLEEPTIME_AGENT, AgentType.VOICE_SLEEPTIME_AGENT):
        raise InvalidValue(f"enable_sleeptime: a {main.agent_type} keeps the memory of others and has none to help it")
    if main.agent_type == AgentType.VOICE_CONVO_AGENT:
        raise NotBuilt("enable_sleeptime is not built yet for voice agents")
    if groups.pair_of(connection, agent_id) is not None:
        return
    asleep = _sleeptime_agent(connection, main)
    request = CreateGroup(
        agent_ids=[asleep],
        description=f"Keeps the memory of {main.name} in order",
        manager_config=SleeptimeManager(manager_agent_id=agent_id),
        project_id=main.project_id,
    )
    groups.create(connection, request, shares_memory=True)


def unpair(connection: Connection, agent_id: str) -> None:
    """Delete the agent's sleep-time agent and their group, if there are any; the blocks stay with the agent."""
    group = groups.pair_of(connection, agent_id)
    if group is None or group.manager_agent_id != agent_id:
        return
    groups.remove(connection, group.id)
    for member in group.agent_ids:
        agents.remove(connection, member)
    agents.change(connection, agent_id, {"enable_sleeptime": False})


def sleeptime_agents(connection: Connection, agent_id: str) -> list[str]:
    """The agents that go when the agent goes. Raises letta.errors.NotFound."""
    agents.require(connection, agent_id)
    group = groups.pair_of(connection, agent_id)
    return group.agent_ids if group is not None and group.manager_agent_id == agent_id else []


def remove_agent(connection: Connection, agent_id: str) -> None:
    """Delete an agent, and its sleep-time agent with it. Raises letta.errors.NotFound."""
    unpair(connection, agent_id)
    group = groups.pair_of(connection, agent_id)
    agents.remove(connection, agent_id)
    if group is not None:
        # It was the sleep-time agent of another, which has none from now on.
        groups.remove(connection, group.id)
        agents.change(connection, str(group.manager_agent_id), {"enable_sleeptime": False})


def _sleeptime_agent(connection: Connection, main: AgentState) -> str:
    """A new agent that works on the memory of `main`: same model, same blocks, nothing else of it."""
    agent_id, names = new_id("agent"), builtin.DEFAULT_TOOLS[AgentType.SLEEPTIME_AGENT]
    rules = [
        TerminalToolRule(tool_name=name) if name in builtin.TERMINAL else ContinueToolRule(tool_name=name)
        for name in names
    ]
    values = {
        "id": agent_id,
        "name": f"{main.name}-sleeptime",
        "agent_type": AgentType.SLEEPTIME_AGENT,
        "system": SYSTEM_PROMPTS[AgentType.SLEEPTIME_AGENT],
        "model": main.model,
        "embedding": main.embedding,
        "llm_config": main.llm_config.model_dump(mode="json", exclude_none=True),
        "embedding_config": _dumped(main.embedding_config),
        "model_settings": _dumped(main.model_settings),
        "tool_rules": [rule.model_dump(mode="json") for rule in rules],
        "timezone": main.timezone,
        "message_buffer_autoclear": False,
        "enable_sleeptime": False,
        "hidden": bool(main.hidden),
        "project_id": main.project_id,
    }
    known = {tool.name: tool for tool in tools.named(connection, names)}
    agents.create(connection, values, (), main.blocks, [known[name] for name in names])
    conversations.start(connection, agent_id, agent_id, next_position=1)
    prompt = Message(
        id=new_id("message"),
        role=Role.SYSTEM,
        parts=[],
        agent_id=agent_id,
        conversation_id=agent_id,
        created_at=now(),
        position=0,
        data={"compiled": True},
    )
    messages.add(connection, [prompt])
    return agent_id


def _dumped(value: BaseModel | None) -> dict[str, Any] | None:
    return None if value is None else value.model_dump(mode="json", exclude_none=True)


# -- groups of every kind ----------------------------------------------------------------------------------------------


def make(connection: Connection, request: CreateGroup) -> Group:
    """Make a group. Raises as `letta.store.groups.create`."""
    group = groups.create(connection, request)
    if group.manager_type == ManagerType.SUPERVISOR:
        _equip(connection, str(group.manager_agent_id))
    return group


def change(connection: Connection, group_id: str, request: UpdateGroup) -> Group:
    """Change a group.

    Raises:
        letta.errors.Conflict: the group belongs to an agent with sleep-time memory, which decides over it.
        letta.errors.LettaError: as `letta.store.groups.change`.
    """
    before = groups.get(connection, group_id)
    if groups.is_pair(connection, group_id):
        _check_pair(before, request)
    group = groups.change(connection, group_id, request)
    if before.manager_type == ManagerType.SUPERVISOR and before.manager_agent_id is not None:
        _unequip(connection, before.manager_agent_id)
    if group.manager_type == ManagerType.SUPERVISOR and group.manager_agent_id is not None:
        _equip(connection, group.manager_agent_id)
    return group


def remove(connection: Connection, group_id: str) -> None:
    """Delete a group. One that was made by `enable_sleeptime` takes the sleep-time agent with it.

    Raises:
        letta.errors.NotFound: no such group.
    """
    group = groups.get(connection, group_id)
    if groups.is_pair(connection, group_id) and group.manager_agent_id is not None:
        unpair(connection, group.manager_agent_id)
        return
    groups.remove(connection, group_id)
    if group.manager_type == ManagerType.SUPERVISOR and group.manager_agent_id is not None:
        _unequip(connection, group.manager_agent_id)


def _check_pair(group: Group, request: UpdateGroup) -> None:
    """Raises letta.errors.Conflict for what only the agent decides."""
    config = request.manager_config
    same = config is None or (
        isinstance(config, SleeptimeManagerUpdate) and config.manager_agent_id in (None, group.manager_agent_id)
    )
    kept = request.agent_ids in (None, group.agent_ids) and request.shared_block_ids is None
    if not same or not kept:
        raise Conflict(
            f"group {group.id} was made by enable_sleeptime of agent {group.manager_agent_id}: its manager, agents and "
            "blocks are that agent's. Attach blocks to the agent; to end the group set its enable_sleeptime to false"
        )


def _equip(connection: Connection, agent_id: str) -> None:
    """Give an agent that supervises the tool to ask the others."""
    tools.attach(connection, agent_id, tools.ids_by_name(connection, [builtin.ASK_GROUP])[builtin.ASK_GROUP])


def _unequip(connection: Connection, agent_id: str) -> None:
    """Take the tool from an agent that supervises nobody any more."""
    led = groups.led_by(connection, [agent_id]).get(agent_id, [])
    if any(group.manager_type == ManagerType.SUPERVISOR for group in led):
        return
    for tool in tools.of_agents(connection, [agent_id]).get(agent_id, []):
        if tool.name == builtin.ASK_GROUP:
            tools.detach(connection, agent_id, str(tool.id))
