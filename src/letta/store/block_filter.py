"""Which blocks a list shows: conditions on their rows. Knows nothing of blocks but their tables."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import exists, func, select

from letta.store.query import like
from letta.store.tables import agent_blocks, block_identities, block_tags, blocks, identities


@dataclass(frozen=True, slots=True)
class BlockFilter:
    """What to list; None does not filter. `label` and `name` are exact, the `search` fields find parts."""

    label: str | None = None
    name: str | None = None
    templates_only: bool | None = None
    tags: Sequence[str] = ()
    match_all_tags: bool = False
    identity_id: str | None = None
    identifier_keys: Sequence[str] = ()
    project_id: str | None = None
    label_search: str | None = None
    description_search: str | None = None
    value_search: str | None = None
    agents_more_than: int | None = None
    agents_fewer_than: int | None = None
    agents_exactly: Sequence[int] = ()
    show_hidden: bool = False


def filtered(query: Any, wanted: BlockFilter) -> Any:
    for column, value in (
        (blocks.c.label, wanted.label),
        (blocks.c.template_name, wanted.name),
        (blocks.c.project_id, wanted.project_id),
    ):
        if value is not None:
            query = query.where(column == value)
    for column, part in (
        (blocks.c.label, wanted.label_search),
        (blocks.c.description, wanted.description_search),
        (blocks.c.value, wanted.value_search),
    ):
        if part is not None:
            query = query.where(column.ilike(like(part), escape="\\"))
    if wanted.templates_only is not None:
        query = query.where(blocks.c.is_template == wanted.templates_only)
    if not wanted.show_hidden:
        query = query.where(blocks.c.hidden.is_(False))
    query = _with_tags(query, wanted)
    if wanted.identity_id is not None:
        mine = exists().where(
            block_identities.c.block_id == blocks.c.id, block_identities.c.identity_id == wanted.identity_id
        )
        query = query.where(mine)
    if wanted.identifier_keys:
        keyed = exists().where(
            block_identities.c.block_id == blocks.c.id,
            block_identities.c.identity_id == identities.c.id,
            identities.c.identifier_key.in_(wanted.identifier_keys),
        )
        query = query.where(keyed)
    return _with_agents(query, wanted)


def _with_tags(query: Any, wanted: BlockFilter) -> Any:
    tagged = [exists().where(block_tags.c.block_id == blocks.c.id, block_tags.c.tag == tag) for tag in wanted.tags]
    if not tagged:
        return query
    if wanted.match_all_tags:
        return query.where(*tagged)
    return query.where(exists().where(block_tags.c.block_id == blocks.c.id, block_tags.c.tag.in_(wanted.tags)))


def _with_agents(query: Any, wanted: BlockFilter) -> Any:
    having = select(func.count()).where(agent_blocks.c.block_id == blocks.c.id).scalar_subquery()
    if wanted.agents_more_than is not None:
        query = query.where(having > wanted.agents_more_than)
    if wanted.agents_fewer_than is not None:
        query = query.where(having < wanted.agents_fewer_than)
    if wanted.agents_exactly:
        query = query.where(having.in_(wanted.agents_exactly))
    return query
