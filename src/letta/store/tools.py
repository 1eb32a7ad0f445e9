"""Tools as rows, and which agent has which. Knows nothing of how a tool runs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from letta.errors import Conflict, NotFound
from letta.schemas.common import new_id, stored
from letta.schemas.tools import Tool
from letta.store.query import like, now, rows
from letta.store.tables import agent_tools, agents, tools

_by_id = select(tools).where(tools.c.id == bindparam("tool_id"))
_insert_of_agent = insert(agent_tools)
_forget = delete(agent_tools).where(agent_tools.c.agent_id == bindparam("agent_id"))
_of_agent = (
    select(tools)
    .join(agent_tools, agent_tools.c.tool_id == tools.c.id)
    .where(agent_tools.c.agent_id == bindparam("agent_id"))
    .order_by(agent_tools.c.position)
)
_links = (
    select(agent_tools.c.agent_id, agent_tools.c.tool_id)
    .where(agent_tools.c.agent_id.in_(bindparam("agent_ids", expanding=True)))
    .order_by(agent_tools.c.agent_id, agent_tools.c.position)
)
_with_ids = select(tools).where(tools.c.id.in_(bindparam("tool_ids", expanding=True)))


@dataclass(frozen=True, slots=True)
class ToolFilter:
    """What to list; None does not filter."""

    name: str | None = None
    names: Sequence[str] = ()
    tool_ids: Sequence[str] = ()
    search: str | None = None
    tool_types: Sequence[str] = ()
    exclude_tool_types: Sequence[str] = ()
    project_id: str | None = None


def put(connection: Connection, values: dict[str, Any]) -> Tool:
    """Store a tool under its name: made, or brought to these values where the name is known."""
    moment = now()
    row = {**_columns(values), "updated_at": moment}
    tool_id = connection.execute(select(tools.c.id).where(tools.c.name == values["name"])).scalar()
    if tool_id is None:
        tool_id = new_id("tool")
        connection.execute(insert(tools).values(id=tool_id, created_at=moment, **row))
    else:
        connection.execute(update(tools).where(tools.c.id == tool_id).values(**row))
        _touch_agents(connection, tool_id)
    return get(connection, tool_id)


def get(connection: Connection, tool_id: str) -> Tool:
    """Raises letta.errors.NotFound."""
    row = connection.execute(_by_id, {"tool_id": tool_id}).first()
    if row is None:
        raise NotFound(f"tool {tool_id} not found")
    return _tool(row)


def ids_by_name(connection: Connection, names: Iterable[str]) -> dict[str, str]:
    """The ids of the tools with these names; unknown names are missing."""
    query = select(tools.c.name, tools.c.id).where(tools.c.name.in_(list(names)))
    return {row.name: row.id for row in connection.execute(query)}


def with_ids(connection: Connection, tool_ids: Sequence[str]) -> list[Tool]:
    """The tools with these ids, in their order. Raises letta.errors.NotFound naming the first unknown id."""
    if not tool_ids:
        return []
    known = {row.id: row for row in connection.execute(_with_ids, {"tool_ids": list(tool_ids)})}
    for tool_id in tool_ids:
        if tool_id not in known:
            raise NotFound(f"tool {tool_id} not found")
    return [_tool(known[tool_id]) for tool_id in tool_ids]


def named(connection: Connection, names: Sequence[str]) -> list[Tool]:
    """The tools with these names; unknown names are missing."""
    return [_tool(row) for row in connection.execute(select(tools).where(tools.c.name.in_(names)))]


def list_page(connection: Connection, /, wanted: ToolFilter, **paging: Any) -> list[Tool]:
    """One page of tools; paging as in `letta.store.query.rows`."""
    return [_tool(row) for row in rows(connection, _filtered(select(tools), wanted), tools, **paging)]


def count(connection: Connection, wanted: ToolFilter) -> int:
    return int(connection.execute(_filtered(select(func.count()).select_from(tools), wanted)).scalar_one())


def change(connection: Connection, tool_id: str, changes: dict[str, Any]) -> Tool:
    """Apply changes. Raises letta.errors.NotFound, and letta.errors.Conflict when the new name is taken."""
    values = _columns(changes)
    if "name" in values:
        other = connection.execute(select(tools.c.id).where(tools.c.name == values["name"])).scalar()
        if other not in (None, tool_id):
            raise Conflict(f"name: there is another tool called {values['name']!r}")
    if connection.execute(update(tools).where(tools.c.id == tool_id).values(**values, updated_at=now())).rowcount == 0:
        raise NotFound(f"tool {tool_id} not found")
    _touch_agents(connection, tool_id)
    return get(connection, tool_id)


def remove(connection: Connection, tool_id: str) -> None:
    """Delete a tool; agents that had it lose it. Raises letta.errors.NotFound."""
    _touch_agents(connection, tool_id)
    if connection.execute(delete(tools).where(tools.c.id == tool_id)).rowcount == 0:
        raise NotFound(f"tool {tool_id} not found")


# -- tools of an agent -------------------------------------------------------------------------------------------------


def of_agent(connection: Connection, agent_id: str) -> list[Tool]:
    """The agent's tools in the order they were attached."""
    return [_tool(row) for row in connection.execute(_of_agent, {"agent_id": agent_id})]


def of_agents(connection: Connection, agent_ids: Sequence[str]) -> dict[str, list[Tool]]:
    """The same for many agents at once; a tool that several have is read once."""
    links = connection.execute(_links, {"agent_ids": list(agent_ids)}).all()
    rows = connection.execute(_with_ids, {"tool_ids": list({link.tool_id for link in links})})
    made = {row.id: _tool(row) for row in rows}
    result: dict[str, list[Tool]] = {agent_id: [] for agent_id in agent_ids}
    for agent_id, tool_id in links:
        result[agent_id].append(made[tool_id])
    return result


def agent_page(connection: Connection, agent_id: str, **paging: Any) -> list[Tool]:
    """One page of the agent's tools."""
    mine = select(agent_tools.c.tool_id).where(agent_tools.c.agent_id == agent_id)
    return [_tool(row) for row in rows(connection, select(tools).where(tools.c.id.in_(mine)), tools, **paging)]


def attach(connection: Connection, agent_id: str, tool_id: str) -> None:
    """Give the agent a tool; one it has already stays as it is. Raises letta.errors.NotFound."""
    get(connection, tool_id)
    mine = select(agent_tools.c.tool_id).where(agent_tools.c.agent_id == agent_id)
    attached = set(connection.execute(mine).scalars())
    if tool_id in attached:
        return
    position = select(func.coalesce(func.max(agent_tools.c.position), -1) + 1).where(agent_tools.c.agent_id == agent_id)
    connection.execute(
        insert(agent_tools).values(agent_id=agent_id, tool_id=tool_id, position=position.scalar_subquery())
    )
    _touch(connection, agent_id)


def detach(connection: Connection, agent_id: str, tool_id: str) -> None:
    """Take a tool from the agent. Raises letta.errors.NotFound when the agent does not have it."""
    gone = delete(agent_tools).where(agent_tools.c.agent_id == agent_id, agent_tools.c.tool_id == tool_id)
    if connection.execute(gone).rowcount == 0:
        raise NotFound(f"tool {tool_id} is not attached to agent {agent_id}")
    _touch(connection, agent_id)


def replace_all(connection: Connection, agent_id: str, tool_ids: Iterable[str]) -> None:
    """Make these the agent's tools. Raises letta.errors.NotFound naming the first unknown id."""
    wanted = list(dict.fromkeys(tool_ids))
    known = set(connection.execute(select(tools.c.id).where(tools.c.id.in_(wanted))).scalars())
    for tool_id in wanted:
        if tool_id not in known:
            raise NotFound(f"tool {tool_id} not found")
    connection.execute(_forget, {"agent_id": agent_id})
    give(connection, agent_id, wanted)


def give(connection: Connection, agent_id: str, tool_ids: Sequence[str]) -> None:
    """Give these tools, which exist, to an agent that has none."""
    values = [{"agent_id": agent_id, "tool_id": tool_id, "position": i} for i, tool_id in enumerate(tool_ids)]
    if values:
        connection.execute(_insert_of_agent, values)


def _touch(connection: Connection, agent_id: str) -> None:
    connection.execute(
        update(agents).where(agents.c.id == agent_id).values(version=agents.c.version + 1, updated_at=now())
    )


def _touch_agents(connection: Connection, tool_id: str) -> None:
    having = select(agent_tools.c.agent_id).where(agent_tools.c.tool_id == tool_id)
    connection.execute(update(agents).where(agents.c.id.in_(having)).values(version=agents.c.version + 1))


def _columns(values: dict[str, Any]) -> dict[str, Any]:
    named = {("metadata" if key == "metadata_" else key): value for key, value in values.items()}
    return {key: value for key, value in named.items() if key in tools.c}


def _tool(row: Any) -> Tool:
    values = row._asdict()
    values["metadata_"] = values.pop("metadata")
    return stored(Tool, {key: values.get(key) for key in Tool.model_fields})


def _filtered(query: Any, wanted: ToolFilter) -> Any:
    if wanted.name is not None:
        query = query.where(tools.c.name == wanted.name)
    if wanted.names:
        query = query.where(tools.c.name.in_(wanted.names))
    if wanted.tool_ids:
        query = query.where(tools.c.id.in_(wanted.tool_ids))
    if wanted.search is not None:
        query = query.where(tools.c.name.ilike(like(wanted.search), escape="\\"))
    if wanted.tool_types:
        query = query.where(tools.c.tool_type.in_(wanted.tool_types))
    if wanted.exclude_tool_types:
        query = query.where(tools.c.tool_type.not_in(wanted.exclude_tool_types))
    if wanted.project_id is not None:
        query = query.where(tools.c.project_id == wanted.project_id)
    return query
