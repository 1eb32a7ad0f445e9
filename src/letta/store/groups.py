"""Groups of agents as rows: who is in, who leads, how turns are taken. Knows nothing of what happens in a turn."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, delete, exists, func, insert, or_, select, update

from letta.errors import InvalidValue, NotFound
from letta.schemas.common import new_id
from letta.schemas.groups import CreateGroup, Group, ManagerType, UpdateGroup
from letta.store import blocks
from letta.store.query import now, rows
from letta.store.tables import agent_blocks, agents, group_agents, group_blocks, group_lines, groups

FREQUENCY = 5
"""After how many turns of the main agent its sleep-time agents think, unless the group says otherwise."""

_NO_SETTINGS: dict[str, Any] = {
    "manager_agent_id": None,
    "termination_token": None,
    "max_turns": None,
    "sleeptime_agent_frequency": None,
    "turns_counter": None,
    "max_message_buffer_length": None,
    "min_message_buffer_length": None,
}
# What groups of a kind start with.
_DEFAULTS: dict[str, dict[str, Any]] = {
    ManagerType.SLEEPTIME: {"sleeptime_agent_frequency": FREQUENCY, "turns_counter": 0},
    ManagerType.VOICE_SLEEPTIME: {"max_message_buffer_length": 30, "min_message_buffer_length": 15},
}
_OURS = frozenset({"shares_memory", "leader_heard", "turn_owner", "turn_until", "created_at", "updated_at"})

_led_by = (
    select(groups)
    .where(groups.c.manager_agent_id.in_(bindparam("agent_ids", expanding=True)))
    .order_by(groups.c.shares_memory.desc(), groups.c.created_at.desc(), groups.c.id.desc())
)


@dataclass(frozen=True, slots=True)
class GroupFilter:
    """What to list; None does not filter. `agent_id` finds the groups an agent is in or leads."""

    manager_type: str | None = None
    project_id: str | None = None
    agent_id: str | None = None
    show_hidden: bool = False


def create(connection: Connection, request: CreateGroup, *, shares_memory: bool = False) -> Group:
    """Store a group and give its shared blocks to everybody in it.

    With `shares_memory` the members have the blocks of the leading agent from then on (see `letta.store.blocks`).

    Raises:
        letta.errors.NotFound: no such agent or block.
        letta.errors.Conflict: an agent has another block with the label of a shared one.
    """
    config = request.manager_config.model_dump(exclude_none=True)
    values = _NO_SETTINGS | _DEFAULTS.get(config["manager_type"], {}) | config
    _require_agents(connection, [*request.agent_ids, values["manager_agent_id"]])
    moment, group_id = now(), new_id("group")
    row = {
        "id": group_id,
        "description": request.description,
        "project_id": request.project_id,
        "hidden": bool(request.hidden),
        "shares_memory": shares_memory,
        "leader_heard": 0,
        "created_at": moment,
        "updated_at": moment,
        **values,
    }
    connection.execute(insert(groups), row)
    _write_members(connection, group_id, request.agent_ids)
    _write_shared(connection, group_id, request.shared_block_ids or ())
    return get(connection, group_id)


def get(connection: Connection, group_id: str) -> Group:
    """Raises letta.errors.NotFound."""
    return _groups(connection, [_row(connection, group_id)])[0]


def list_page(connection: Connection, wanted: GroupFilter, /, **paging: Any) -> list[Group]:
    """One page of groups; paging as in `letta.store.query.rows`."""
    return _groups(connection, rows(connection, _filtered(select(groups), wanted), groups, **paging))


def count(connection: Connection, wanted: GroupFilter) -> int:
    return int(connection.execute(_filtered(select(func.count()).select_from(groups), wanted)).scalar_one())


def change(connection: Connection, group_id: str, request: UpdateGroup) -> Group:
    """Apply the fields that were sent. A manager of another type brings its own settings; the older ones go.

    Raises:
        letta.errors.NotFound: no such group, agent or block.
        letta.errors.InvalidValue: a manager that needs an agent has none.
        letta.errors.Conflict: an agent has another block with the label of a shared one.
    """
    row, sent = _row(connection, group_id), request.changes()
    members, shared = sent.pop("agent_ids", None), sent.pop("shared_block_ids", None)
    if request.manager_config is not None:
        sent |= _new_settings(row, request.manager_config)
        _require_agents(connection, [sent.get("manager_agent_id")])
    sent.pop("manager_config", None)
    connection.execute(update(groups).where(groups.c.id == group_id).values(**sent, updated_at=now()))
    if members is not None:
        _require_agents(connection, members)
        _write_members(connection, group_id, members)
    if shared is None:
        shared = _shared(connection, [group_id]).get(group_id, [])
    _write_shared(connection, group_id, shared)
    return get(connection, group_id)


def remove(connection: Connection, group_id: str) -> None:
    """Delete a group; its agents and their blocks stay. Raises letta.errors.NotFound."""
    if connection.execute(delete(groups).where(groups.c.id == group_id)).rowcount == 0:
        raise NotFound(f"group {group_id} not found")


def led_by(connection: Connection, agent_ids: Sequence[str]) -> dict[str, list[Group]]:
    """The groups that agents lead, by agent; the one that shares the agent's memory first, then the newest."""
    found: dict[str, list[Group]] = {}
    for group in _groups(connection, connection.execute(_led_by, {"agent_ids": list(agent_ids)}).all()):
        found.setdefault(str(group.manager_agent_id), []).append(group)
    return found


def pair_of(connection: Connection, agent_id: str) -> Group | None:
    """The group of an agent and its sleep-time agent; `agent_id` may be either of the two."""
    member = exists().where(group_agents.c.group_id == groups.c.id, group_agents.c.agent_id == agent_id)
    query = select(groups).where(groups.c.shares_memory.is_(True), or_(groups.c.manager_agent_id == agent_id, member))
    row = connection.execute(query).first()
    return None if row is None else _groups(connection, [row])[0]


def is_pair(connection: Connection, group_id: str) -> bool:
    """Whether the group was made by `enable_sleeptime`. Raises letta.errors.NotFound."""
    return bool(_row(connection, group_id).shares_memory)


def names_of(connection: Connection, agent_ids: Iterable[str]) -> dict[str, str]:
    """The names of those agents that exist, by id."""
    query = select(agents.c.id, agents.c.name).where(agents.c.id.in_(list(agent_ids)))
    return {row.id: row.name for row in connection.execute(query)}


# -- parts -------------------------------------------------------------------------------------------------------------


def _row(connection: Connection, group_id: str) -> Any:
    row = connection.execute(select(groups).where(groups.c.id == group_id)).first()
    if row is None:
        raise NotFound(f"group {group_id} not found")
    return row


def _new_settings(row: Any, config: Any) -> dict[str, Any]:
    """The columns of a changed manager: absent keeps, null clears, another type begins anew."""
    given = {name: getattr(config, name) for name in config.model_fields_set} | {"manager_type": config.manager_type}
    if given.get("manager_agent_id", "") is None:
        del given["manager_agent_id"]
    if row.manager_type != config.manager_type:
        given = _NO_SETTINGS | _DEFAULTS.get(config.manager_type, {}) | given
    elif "sleeptime_agent_frequency" in given and given["sleeptime_agent_frequency"] is None:
        given["sleeptime_agent_frequency"] = FREQUENCY
    leads = given.get("manager_agent_id", row.manager_agent_id if row.manager_type == config.manager_type else None)
    if config.manager_type != ManagerType.ROUND_ROBIN and leads is None:
        raise InvalidValue(
            f"manager_config.manager_agent_id: a {config.manager_type} group needs an agent that leads it"
        )
    return given


def _require_agents(connection: Connection, agent_ids: Iterable[str | None]) -> None:
    wanted = [agent_id for agent_id in agent_ids if agent_id is not None]
    known = names_of(connection, wanted)
    for agent_id in wanted:
        if agent_id not in known:
            raise NotFound(f"agent {agent_id} not found")


def _write_members(connection: Connection, group_id: str, agent_ids: Iterable[str]) -> None:
    """Make these the members, in this order. New ones hear what is said from now on."""
    mine = group_agents.c.group_id == group_id
    heard = {row.agent_id: row.heard for row in connection.execute(select(group_agents).where(mine))}
    latest = select(func.coalesce(func.max(group_lines.c.position), 0)).where(group_lines.c.group_id == group_id)
    end = connection.execute(latest).scalar_one()
    connection.execute(delete(group_agents).where(mine))
    values = [
        {"group_id": group_id, "agent_id": agent_id, "position": number, "heard": heard.get(agent_id, end)}
        for number, agent_id in enumerate(dict.fromkeys(agent_ids))
    ]
    if values:
        connection.execute(insert(group_agents), values)


def _write_shared(connection: Connection, group_id: str, block_ids: Iterable[str]) -> None:
    """Make these the shared blocks: everybody in the group gets them, and loses those that were shared before."""
    wanted = list(dict.fromkeys(block_ids))
    before = _shared(connection, [group_id]).get(group_id, [])
    everybody = [*_members(connection, [group_id]).get(group_id, []), _row(connection, group_id).manager_agent_id]
    for agent_id in (agent_id for agent_id in everybody if agent_id is not None):
        having = {block.id for block in blocks.of_agent(connection, agent_id)}
        for block_id in before:
            if block_id not in wanted and block_id in having:
                blocks.detach(connection, agent_id, block_id)
        for block_id in wanted:
            blocks.attach(connection, agent_id, block_id)
    connection.execute(delete(group_blocks).where(group_blocks.c.group_id == group_id))
    values = [
        {"group_id": group_id, "block_id": block_id, "position": number} for number, block_id in enumerate(wanted)
    ]
    for block_id in wanted:
        blocks.get(connection, block_id)
    if values:
        connection.execute(insert(group_blocks), values)


def _members(connection: Connection, group_ids: Sequence[str]) -> dict[str, list[str]]:
    query = select(group_agents).where(group_agents.c.group_id.in_(group_ids)).order_by(group_agents.c.position)
    found: dict[str, list[str]] = {}
    for row in connection.execute(query):
        found.setdefault(row.group_id, []).append(row.agent_id)
    return found


def _shared(connection: Connection, group_ids: Sequence[str]) -> dict[str, list[str]]:
    query = select(group_blocks).where(group_blocks.c.group_id.in_(group_ids)).order_by(group_blocks.c.position)
    found: dict[str, list[str]] = {}
    for row in connection.execute(query):
        found.setdefault(row.group_id, []).append(row.block_id)
    return found


def _shared_by_pairs(connection: Connection, group_ids: Sequence[str]) -> dict[str, list[str]]:
    """The blocks of an agent and its sleep-time agent: all there are."""
    query = (
        select(groups.c.id, agent_blocks.c.block_id)
        .join(agent_blocks, agent_blocks.c.agent_id == groups.c.manager_agent_id)
        .where(groups.c.id.in_(group_ids), groups.c.shares_memory.is_(True))
        .order_by(agent_blocks.c.position)
    )
    found: dict[str, list[str]] = {}
    for row in connection.execute(query):
        found.setdefault(row.id, []).append(row.block_id)
    return found


def _groups(connection: Connection, found: Sequence[Any]) -> list[Group]:
    ids = [row.id for row in found]
    if not ids:
        return []
    members = _members(connection, ids)
    shared = _shared(connection, ids) | _shared_by_pairs(connection, ids)
    return [
        Group.model_construct(
            **{name: value for name, value in row._asdict().items() if name not in _OURS},
            agent_ids=members.get(row.id, []),
            shared_block_ids=shared.get(row.id, []),
        )
        for row in found
    ]


def _filtered(query: Any, wanted: GroupFilter) -> Any:
    if wanted.manager_type is not None:
        query = query.where(groups.c.manager_type == wanted.manager_type)
    if wanted.project_id is not None:
        query = query.where(groups.c.project_id == wanted.project_id)
    if wanted.agent_id is not None:
        member = exists().where(group_agents.c.group_id == groups.c.id, group_agents.c.agent_id == wanted.agent_id)
        query = query.where(or_(groups.c.manager_agent_id == wanted.agent_id, member))
    if not wanted.show_hidden:
        query = query.where(groups.c.hidden.is_(False))
    return query
