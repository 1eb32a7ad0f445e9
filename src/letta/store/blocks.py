"""Memory blocks and who has them. Every write makes a version, which `letta.store.block_history` reads and walks.

Knows nothing of prompts or tools.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from letta.errors import Conflict, InvalidValue, NotFound
from letta.schemas.blocks import Block, BlockAction, CreateBlock
from letta.schemas.common import new_id, storable, stored
from letta.store.block_filter import BlockFilter, filtered
from letta.store.query import now, rows, times_in_order
from letta.store.tables import (
    agent_blocks,
    agents,
    block_tags,
    block_versions,
    blocks,
    conversation_blocks,
    group_agents,
    groups,
)


class Author(NamedTuple):
    """Who writes: `type` is `user`, `agent` or `system`, the ids say in which run, step and message."""

    type: str = "user"
    id: str | None = None
    run_id: str | None = None
    step_id: str | None = None
    message_id: str | None = None


USER = Author()
_SAME_AS_COLUMN = (
    "id", "label", "value", "limit", "description", "read_only", "hidden", "is_template", "template_name",
    "template_id", "base_template_id", "deployment_id", "entity_id", "preserve_on_migration", "project_id", "metadata",
)  # fmt: skip
VERSIONED = ("label", "value", "description", "limit")
"""The columns a version keeps."""

_by_id = select(blocks).where(blocks.c.id == bindparam("block_id"))
_insert = insert(blocks)
_insert_version = insert(block_versions)
_tags_of = (
    select(block_tags)
    .where(block_tags.c.block_id.in_(bindparam("block_ids", expanding=True)))
    .order_by(block_tags.c.tag)
)
_of_agent = (
    select(blocks)
    .join(agent_blocks, agent_blocks.c.block_id == blocks.c.id)
    .where(agent_blocks.c.agent_id == bindparam("agent_id"))
    .order_by(agent_blocks.c.position)
)
_of_agents = (
    select(agent_blocks.c.agent_id, blocks)
    .join(agent_blocks, agent_blocks.c.block_id == blocks.c.id)
    .where(agent_blocks.c.agent_id.in_(bindparam("agent_ids", expanding=True)))
    .order_by(agent_blocks.c.agent_id, agent_blocks.c.position)
)
_holders = (
    select(agent_blocks.c.agent_id)
    .where(agent_blocks.c.block_id == bindparam("block_id"))
    .union_all(select(conversation_blocks.c.agent_id).where(conversation_blocks.c.block_id == bindparam("block_id")))
)
_touch_agents = update(agents).where(agents.c.id.in_(_holders)).values(version=agents.c.version + 1)
_led = groups.c.shares_memory.is_(True), groups.c.manager_agent_id == bindparam("agent_id")
_leaders = (
    select(groups.c.manager_agent_id)
    .join(group_agents, group_agents.c.group_id == groups.c.id)
    .where(groups.c.shares_memory.is_(True), group_agents.c.agent_id == bindparam("agent_id"))
)
_pairs = (
    select(group_agents.c.agent_id).join(groups, groups.c.id == group_agents.c.group_id).where(*_led).union(_leaders)
)


def create(connection: Connection, request: CreateBlock, author: Author = USER) -> Block:
    """Store a new block.

    Raises:
        letta.errors.InvalidValue: when the value is longer than the limit.
    """
    return create_all(connection, [request], author)[0]


def create_all(connection: Connection, requests: Sequence[CreateBlock], author: Author = USER) -> list[Block]:
    """The same for many blocks, in one statement for each table; lists by time have them in this order."""
    if not requests:
        return []
    made: list[dict[str, Any]] = [
        {"version": 1, "created_at": moment, "updated_at": moment}
        | request.model_dump(exclude={"tags"})
        | {
            "id": new_id("block"),
            "hidden": bool(request.hidden),
            "value": _fitting(request.label, request.value, request.limit),
        }
        for moment, request in zip(times_in_order(len(requests)), requests, strict=True)
    ]
    connection.execute(_insert, made)
    connection.execute(
        _insert_version,
        [_version(one["id"], 1, one, BlockAction.CREATE, state=1, parent=None, author=author) for one in made],
    )
    tags = [sorted(set(request.tags or ())) for request in requests]
    for one, its_tags in zip(made, tags, strict=True):
        if its_tags:
            _write_tags(connection, one["id"], its_tags)
    return [_block(one, its_tags) for one, its_tags in zip(made, tags, strict=True)]


def get(connection: Connection, block_id: str) -> Block:
    """Raises letta.errors.NotFound."""
    row = connection.execute(_by_id, {"block_id": block_id}).first()
    if row is None:
        raise NotFound(f"block {block_id} not found")
    return _blocks(connection, [row])[0]


def with_ids(connection: Connection, block_ids: Sequence[str]) -> list[Block]:
    """The blocks, in the order of the ids, without those that are gone."""
    if not block_ids:
        return []
    query = select(blocks).where(blocks.c.id.in_(block_ids))
    found = {block.id: block for block in _blocks(connection, connection.execute(query).all())}
    return [found[block_id] for block_id in block_ids if block_id in found]


def require_all(connection: Connection, block_ids: Sequence[str]) -> list[Block]:
    """The blocks with these ids, in their order. Raises letta.errors.NotFound naming the first unknown id."""
    found = with_ids(connection, block_ids)
    if len(found) < len(block_ids):
        known = {block.id for block in found}
        raise NotFound(f"block {next(one for one in block_ids if one not in known)} not found")
    return found


def list_page(connection: Connection, wanted: BlockFilter, /, **paging: Any) -> list[Block]:
    """One page of blocks; paging as in `letta.store.query.rows`."""
    return _blocks(connection, rows(connection, filtered(select(blocks), wanted), blocks, **paging))


def count(connection: Connection, wanted: BlockFilter) -> int:
    return int(connection.execute(filtered(select(func.count()).select_from(blocks), wanted)).scalar_one())


def change(connection: Connection, block_id: str, changes: dict[str, Any], author: Author = USER) -> Block:
    """Apply changes (column names, and `tags`) and keep the new version.

    Raises:
        letta.errors.NotFound: no such block.
        letta.errors.InvalidValue: the value would be longer than the limit.
        letta.errors.Conflict: an agent that has the block has another one with the new label.
    """
    row, changes = lock(connection, block_id), storable(changes)
    values = {key: value for key, value in changes.items() if key in blocks.c and key not in ("id", "version")}
    if "hidden" in values:
        values["hidden"] = bool(values["hidden"])
    if "value" in values or "limit" in values:
        label, limit = values.get("label", row.label), values.get("limit", row.limit)
        values["value"] = _fitting(label, values.get("value", row.value), limit)
    if "tags" in changes:
        _write_tags(connection, block_id, changes["tags"] or [])
    edited = {key: values.get(key, getattr(row, key)) for key in VERSIONED}
    if any(edited[key] != getattr(row, key) for key in VERSIONED):
        state, values["version"] = head(connection, block_id).state, row.version + 1
        add_version(
            connection, block_id, row.version + 1, edited, BlockAction.EDIT, state=row.version + 1, parent=state,
            author=author,
        )  # fmt: skip
    return write(connection, row, values)


def remove(connection: Connection, block_id: str) -> None:
    """Delete a block and its history; agents that had it lose it. Raises letta.errors.NotFound."""
    connection.execute(_touch_agents, {"block_id": block_id})
    if connection.execute(delete(blocks).where(blocks.c.id == block_id)).rowcount == 0:
        raise NotFound(f"block {block_id} not found")


# -- blocks of an agent ------------------------------------------------------------------------------------------------


def of_agent(connection: Connection, agent_id: str) -> list[Block]:
    """The agent's blocks in the order they were attached."""
    return _blocks(connection, connection.execute(_of_agent, {"agent_id": agent_id}).all())


def of_agents(connection: Connection, agent_ids: Sequence[str]) -> dict[str, list[Block]]:
    """The same for many agents at once."""
    found = connection.execute(_of_agents, {"agent_ids": list(agent_ids)}).all()
    result: dict[str, list[Block]] = {agent_id: [] for agent_id in agent_ids}
    for row, block in zip(found, _blocks(connection, found), strict=True):
        result[row.agent_id].append(block)
    return result


def agent_page(connection: Connection, agent_id: str, /, **paging: Any) -> list[Block]:
    """One page of the agent's blocks."""
    mine = select(agent_blocks.c.block_id).where(agent_blocks.c.agent_id == agent_id)
    return _blocks(connection, rows(connection, select(blocks).where(blocks.c.id.in_(mine)), blocks, **paging))


def labelled(connection: Connection, agent_id: str, label: str) -> Block:
    """The agent's block with this label. Raises letta.errors.NotFound naming the labels there are."""
    mine = of_agent(connection, agent_id)
    for block in mine:
        if block.label == label:
            return block
    labels = ", ".join(str(block.label) for block in mine) or "none"
    raise NotFound(f"block {label!r} not found: agent {agent_id} has {labels}")


def attach(connection: Connection, agent_id: str, block_id: str) -> None:
    """Give a block to the agent and those it shares its memory with; a block it has already stays as it is.

    Raises:
        letta.errors.NotFound: no such agent or block.
        letta.errors.Conflict: the agent has another block with the same label.
    """
    # Held, so that two attachments at the same time do not both find the label free.
    if connection.execute(select(agents.c.id).where(agents.c.id == agent_id).with_for_update()).first() is None:
        raise NotFound(f"agent {agent_id} not found")
    block = get(connection, block_id)
    for holder in (agent_id, *sharing_memory(connection, agent_id)):
        _attach(connection, holder, block)


def _attach(connection: Connection, agent_id: str, block: Block) -> None:
    mine = of_agent(connection, agent_id)
    if any(other.id == block.id for other in mine):
        return
    if any(other.label == block.label for other in mine):
        raise Conflict(f"agent {agent_id} has a block labelled {block.label!r} already; detach that one first")
    position = select(func.coalesce(func.max(agent_blocks.c.position), -1) + 1).where(
        agent_blocks.c.agent_id == agent_id
    )
    connection.execute(
        insert(agent_blocks).values(agent_id=agent_id, block_id=block.id, position=position.scalar_subquery())
    )
    touch(connection, agent_id)


def detach(connection: Connection, agent_id: str, block_id: str) -> None:
    """Take a block from the agent and those it shares its memory with.

    Raises letta.errors.NotFound when the agent does not have it.
    """
    for holder in (agent_id, *sharing_memory(connection, agent_id)):
        gone = delete(agent_blocks).where(agent_blocks.c.agent_id == holder, agent_blocks.c.block_id == block_id)
        if connection.execute(gone).rowcount:
            touch(connection, holder)
        elif holder == agent_id:
            raise NotFound(f"block {block_id} is not attached to agent {agent_id}")


def sharing_memory(connection: Connection, agent_id: str) -> list[str]:
    """The agents that have the same blocks as this one, always: an agent and its sleep-time agent."""
    return [other for other in connection.execute(_pairs, {"agent_id": agent_id}).scalars() if other != agent_id]


def touch(connection: Connection, agent_id: str) -> None:
    """Let the next request of the agent read its memory anew."""
    connection.execute(
        update(agents).where(agents.c.id == agent_id).values(version=agents.c.version + 1, updated_at=now())
    )


# -- what every write does ---------------------------------------------------------------------------------------------


def lock(connection: Connection, block_id: str) -> Any:
    """The row, held until the transaction ends: two writers never take the same version number.

    Raises letta.errors.NotFound.
    """
    row = connection.execute(_by_id.with_for_update(), {"block_id": block_id}).first()
    if row is None:
        raise NotFound(f"block {block_id} not found")
    return row


def held(connection: Connection, block: Block) -> Block:
    """The block as it is once nobody else writes it, held until the transaction ends.

    What is written to it then can be made of what it says: two who add a line at the same time both add one.
    """
    if connection.dialect.name == "sqlite":
        # Nobody else writes anything during this transaction.
        return block
    return _blocks(connection, [lock(connection, str(block.id))])[0]


def write(connection: Connection, row: Any, values: dict[str, Any]) -> Block:
    """Write columns of a locked row and let the agents that have the block know.

    Raises letta.errors.Conflict when one of them has another block with the new label.
    """
    if values.get("label", row.label) != row.label:
        _label_is_free(connection, row.id, values["label"])
    connection.execute(update(blocks).where(blocks.c.id == row.id).values(**values, updated_at=now()))
    connection.execute(_touch_agents, {"block_id": row.id})
    return get(connection, row.id)


def add_version(
    connection: Connection,
    block_id: str,
    number: int,
    values: dict[str, Any],
    action: BlockAction,
    *,
    state: int,
    parent: int | None,
    author: Author,
) -> None:
    """Keep what a block says as version `number`; `state` and `parent` are explained at the table."""
    row = _version(block_id, number, values, action, state=state, parent=parent, author=author)
    connection.execute(_insert_version, row)


def _version(
    block_id: str,
    number: int,
    values: dict[str, Any],
    action: BlockAction,
    *,
    state: int,
    parent: int | None,
    author: Author,
) -> dict[str, Any]:
    return {
        "block_id": block_id,
        "version": number,
        **{key: values[key] for key in VERSIONED},
        "action": action,
        "state": state,
        "parent": parent,
        "author_type": author.type,
        "author_id": author.id,
        "run_id": author.run_id,
        "step_id": author.step_id,
        "message_id": author.message_id,
        "created_at": now(),
    }


def head(connection: Connection, block_id: str) -> Any:
    """The newest version's `version` and `state`."""
    query = select(block_versions.c.version, block_versions.c.state).where(block_versions.c.block_id == block_id)
    return connection.execute(query.order_by(block_versions.c.version.desc()).limit(1)).one()


def _label_is_free(connection: Connection, block_id: str, label: str) -> None:
    copies = select(conversation_blocks.c.conversation_id).where(conversation_blocks.c.block_id == block_id)
    conversation_id = connection.execute(copies).scalar()
    if conversation_id is not None:
        raise Conflict(f"label: this block is the copy of conversation {conversation_id}, and a copy keeps its label")
    holders = select(agent_blocks.c.agent_id).where(agent_blocks.c.block_id == block_id)
    same = (
        select(agent_blocks.c.agent_id)
        .join(blocks, blocks.c.id == agent_blocks.c.block_id)
        .where(agent_blocks.c.agent_id.in_(holders), blocks.c.label == label, blocks.c.id != block_id)
    )
    agent_id = connection.execute(same.limit(1)).scalar()
    if agent_id is not None:
        raise Conflict(f"label: agent {agent_id} has this block and another one labelled {label!r}")


# -- rows --------------------------------------------------------------------------------------------------------------


def _fitting(label: str, value: str, limit: int) -> str:
    if len(value) > limit:
        raise InvalidValue(f"value: block {label!r} would hold {len(value)} characters, its limit is {limit}")
    return value


def _write_tags(connection: Connection, block_id: str, tags: Iterable[str]) -> None:
    connection.execute(delete(block_tags).where(block_tags.c.block_id == block_id))
    values = [{"block_id": block_id, "tag": tag} for tag in dict.fromkeys(tags)]
    if values:
        connection.execute(insert(block_tags), values)


def _blocks(connection: Connection, found: Sequence[Any]) -> list[Block]:
    if not found:
        return []
    tags: dict[str, list[str]] = {}
    for block_id, tag in connection.execute(_tags_of, {"block_ids": [row.id for row in found]}):
        tags.setdefault(block_id, []).append(tag)
    return [_block(row._mapping, tags.get(row.id, [])) for row in found]


def _block(values: Mapping[str, Any], tags: list[str]) -> Block:
    columns = {key: values[key] for key in _SAME_AS_COLUMN}
    return stored(Block, {**columns, "tags": tags, "name": values["template_name"]})
