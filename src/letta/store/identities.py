"""Identities, and which agents and blocks belong to them. Knows nothing of accounts or rights."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Table, bindparam, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from letta.errors import Conflict, NotFound
from letta.schemas.common import new_id
from letta.schemas.identities import CreateIdentity, Identity, IdentityProperty, UpsertIdentity
from letta.store.query import now, rows
from letta.store.tables import agent_identities, agents, block_identities, blocks, identities

_of_agents = (
    select(agent_identities.c.agent_id, identities)
    .join(agent_identities, agent_identities.c.identity_id == identities.c.id)
    .where(agent_identities.c.agent_id.in_(bindparam("agent_ids", expanding=True)))
    .order_by(identities.c.created_at, identities.c.id)
)


@dataclass(frozen=True, slots=True)
class IdentityFilter:
    """What to list; None does not filter."""

    name: str | None = None
    project_id: str | None = None
    identifier_key: str | None = None
    identity_type: str | None = None


def create(connection: Connection, request: CreateIdentity) -> Identity:
    """Store a new identity.

    Raises:
        letta.errors.Conflict: the key is taken.
        letta.errors.NotFound: one of the agents or blocks does not exist.
    """
    if _id_of(connection, request.identifier_key) is not None:
        raise _taken(request.identifier_key)
    identity_id, moment = new_id("identity"), now()
    values = {
        "id": identity_id,
        "identifier_key": request.identifier_key,
        "name": request.name,
        "identity_type": request.identity_type,
        "properties": _dumped(request.properties or []),
        "project_id": request.project_id,
        "created_at": moment,
        "updated_at": moment,
    }
    try:
        connection.execute(insert(identities), values)
    except IntegrityError:
        # Another request stored the same key at the same moment.
        raise _taken(request.identifier_key) from None
    _link(connection, _AGENTS, identity_id, request.agent_ids or [])
    _link(connection, _BLOCKS, identity_id, request.block_ids or [])
    return get(connection, identity_id)


def upsert(connection: Connection, request: UpsertIdentity) -> Identity:
    """The identity with this key, made or brought to this form: given properties, agents and blocks replace the old.

    Raises letta.errors.NotFound when one of the agents or blocks does not exist.
    """
    identity_id = _id_of(connection, request.identifier_key)
    if identity_id is None:
        return create(connection, request)
    values: dict[str, Any] = {"name": request.name, "identity_type": request.identity_type}
    if request.properties is not None:
        values["properties"] = _dumped(request.properties)
    if "project_id" in request.model_fields_set:
        values["project_id"] = request.project_id
    _write(connection, identity_id, values)
    for relation, ids in ((_AGENTS, request.agent_ids), (_BLOCKS, request.block_ids)):
        if ids is not None:
            connection.execute(delete(relation.links).where(relation.links.c.identity_id == identity_id))
            _link(connection, relation, identity_id, ids)
    return get(connection, identity_id)


def get(connection: Connection, identity_id: str) -> Identity:
    """Raises letta.errors.NotFound."""
    row = connection.execute(select(identities).where(identities.c.id == identity_id)).first()
    if row is None:
        raise NotFound(f"identity {identity_id} not found")
    return _identities(connection, [row])[0]


def list_page(connection: Connection, wanted: IdentityFilter, /, **paging: Any) -> list[Identity]:
    """One page of identities; paging as in `letta.store.query.rows`."""
    query = select(identities)
    for column, value in (
        (identities.c.name, wanted.name),
        (identities.c.project_id, wanted.project_id),
        (identities.c.identifier_key, wanted.identifier_key),
        (identities.c.identity_type, wanted.identity_type),
    ):
        if value is not None:
            query = query.where(column == value)
    return _identities(connection, rows(connection, query, identities, **paging))


def count(connection: Connection) -> int:
    return int(connection.execute(select(func.count()).select_from(identities)).scalar_one())


def change(connection: Connection, identity_id: str, changes: dict[str, Any]) -> Identity:
    """Apply changes: properties are merged by their keys, `agent_ids` and `block_ids` are added to those there are.

    Raises:
        letta.errors.NotFound: no such identity, agent or block.
        letta.errors.Conflict: the new key is taken.
    """
    known = get(connection, identity_id)
    values: dict[str, Any] = {
        name: changes[name] for name in ("identifier_key", "name", "identity_type") if name in changes
    }
    key = values.get("identifier_key", known.identifier_key)
    if _id_of(connection, key) not in (None, identity_id):
        raise _taken(key)
    if "properties" in changes:
        merged = {one.key: one for one in [*(known.properties or []), *changes["properties"]]}
        values["properties"] = _dumped(merged.values())
    try:
        _write(connection, identity_id, values)
    except IntegrityError:
        # Another request stored the same key at the same moment.
        raise _taken(key) from None
    for relation, present in ((_AGENTS, known.agent_ids), (_BLOCKS, known.block_ids)):
        wanted = changes.get(relation.field) or []
        _link(connection, relation, identity_id, [item for item in wanted if item not in present])
    return get(connection, identity_id)


def write_properties(connection: Connection, identity_id: str, properties: Sequence[IdentityProperty]) -> Identity:
    """Make these the identity's properties. Raises letta.errors.NotFound."""
    _write(connection, identity_id, {"properties": _dumped(properties)})
    return get(connection, identity_id)


def remove(connection: Connection, identity_id: str) -> None:
    """Delete an identity; its agents and blocks stay. Raises letta.errors.NotFound."""
    if connection.execute(delete(identities).where(identities.c.id == identity_id)).rowcount == 0:
        raise NotFound(f"identity {identity_id} not found")


# -- agents and blocks of an identity ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Relation:
    """What can belong to an identity: the word for it, its table, the table of links, and the field of ids."""

    noun: str
    table: Table
    links: Table
    field: str


_AGENTS = _Relation("agent", agents, agent_identities, "agent_ids")
_BLOCKS = _Relation("block", blocks, block_identities, "block_ids")


def of_agents(connection: Connection, agent_ids: Sequence[str]) -> dict[str, list[Identity]]:
    """The identities of many agents at once, without the ids of their other agents and blocks."""
    result: dict[str, list[Identity]] = {}
    for row in connection.execute(_of_agents, {"agent_ids": list(agent_ids)}):
        result.setdefault(row.agent_id, []).append(_identity(row, [], []))
    return result


def attach(connection: Connection, agent_id: str, identity_id: str) -> None:
    """Let an agent belong to an identity; once is enough. Raises letta.errors.NotFound for either."""
    _attach(connection, _AGENTS, agent_id, identity_id)


def detach(connection: Connection, agent_id: str, identity_id: str) -> None:
    """Undo `attach`. Raises letta.errors.NotFound when the agent does not belong to the identity."""
    _detach(connection, _AGENTS, agent_id, identity_id)


def attach_block(connection: Connection, block_id: str, identity_id: str) -> None:
    """Let a block belong to an identity; once is enough. Raises letta.errors.NotFound for either."""
    _attach(connection, _BLOCKS, block_id, identity_id)


def detach_block(connection: Connection, block_id: str, identity_id: str) -> None:
    """Undo `attach_block`. Raises letta.errors.NotFound when the block does not belong to the identity."""
    _detach(connection, _BLOCKS, block_id, identity_id)


def _attach(connection: Connection, relation: _Relation, item_id: str, identity_id: str) -> None:
    # Held until the end of the transaction, so that attaching twice at the same time waits and then finds the link.
    held = select(identities.c.id).where(identities.c.id == identity_id).with_for_update()
    if connection.execute(held).first() is None:
        raise NotFound(f"identity {identity_id} not found")
    links, column = relation.links, relation.links.c[f"{relation.noun}_id"]
    present = select(column).where(column == item_id, links.c.identity_id == identity_id)
    if connection.execute(present).first() is None:
        _link(connection, relation, identity_id, [item_id])


def _detach(connection: Connection, relation: _Relation, item_id: str, identity_id: str) -> None:
    links, column = relation.links, relation.links.c[f"{relation.noun}_id"]
    gone = delete(links).where(column == item_id, links.c.identity_id == identity_id)
    if connection.execute(gone).rowcount == 0:
        raise NotFound(f"identity {identity_id} is not attached to {relation.noun} {item_id}")


def _link(connection: Connection, relation: _Relation, identity_id: str, ids: Iterable[str]) -> None:
    """Add links. Raises letta.errors.NotFound naming the first id that does not exist."""
    wanted = list(dict.fromkeys(ids))
    if not wanted:
        return
    # Held against deletion until the links are written.
    held = select(relation.table.c.id).where(relation.table.c.id.in_(wanted)).with_for_update(read=True)
    known = set(connection.execute(held).scalars())
    for item_id in wanted:
        if item_id not in known:
            raise NotFound(f"{relation.noun} {item_id} not found")
    links = [{f"{relation.noun}_id": item_id, "identity_id": identity_id} for item_id in wanted]
    connection.execute(insert(relation.links), links)


# -- rows --------------------------------------------------------------------------------------------------------------


def _id_of(connection: Connection, identifier_key: str) -> str | None:
    """The id behind a key. The row is held, so that two writers do not replace its links at the same time."""
    query = select(identities.c.id).where(identities.c.identifier_key == identifier_key).with_for_update()
    found: str | None = connection.execute(query).scalar()
    return found


def _write(connection: Connection, identity_id: str, values: dict[str, Any]) -> None:
    changed = update(identities).where(identities.c.id == identity_id).values(**values, updated_at=now())
    if connection.execute(changed).rowcount == 0:
        raise NotFound(f"identity {identity_id} not found")


def _taken(identifier_key: str) -> Conflict:
    return Conflict(f"identifier_key: there is an identity with the key {identifier_key!r} already; PUT changes it")


def _dumped(properties: Iterable[IdentityProperty]) -> list[dict[str, Any]]:
    """As they are stored: of several with the same key the last."""
    return list({one.key: one.model_dump() for one in properties}.values())


def _identities(connection: Connection, found: Sequence[Any]) -> list[Identity]:
    if not found:
        return []
    ids = [row.id for row in found]
    its_agents, its_blocks = _linked(connection, _AGENTS, ids), _linked(connection, _BLOCKS, ids)
    return [_identity(row, its_agents.get(row.id, []), its_blocks.get(row.id, [])) for row in found]


def _linked(connection: Connection, relation: _Relation, ids: Sequence[str]) -> dict[str, list[str]]:
    """The ids of what belongs to each identity, oldest first."""
    links, table = relation.links, relation.table
    column = links.c[f"{relation.noun}_id"]
    query = select(links.c.identity_id, column).join(table, table.c.id == column).where(links.c.identity_id.in_(ids))
    result: dict[str, list[str]] = {}
    for identity_id, item_id in connection.execute(query.order_by(table.c.created_at, table.c.id)):
        result.setdefault(identity_id, []).append(item_id)
    return result


def _identity(row: Any, agent_ids: list[str], block_ids: list[str]) -> Identity:
    return Identity.model_construct(
        id=row.id,
        identifier_key=row.identifier_key,
        name=row.name,
        identity_type=row.identity_type,
        project_id=row.project_id,
        agent_ids=agent_ids,
        block_ids=block_ids,
        properties=[IdentityProperty.model_construct(**one) for one in row.properties],
    )
