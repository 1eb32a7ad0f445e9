"""Passages: what an archive remembers. Written once, tagged, found through `letta.store.search`."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Select, func, insert, select, update

from letta.errors import InvalidValue, NotFound
from letta.schemas.common import new_id
from letta.schemas.llm_config import EmbeddingConfig
from letta.schemas.passages import CreatePassage, Passage
from letta.store import pieces
from letta.store.query import like, now, rows
from letta.store.tables import agent_archives, archives, passage_tags, passages

LONGEST = 5_000_000
"""Characters of a passage."""


def add(connection: Connection, archive_id: str, new: Sequence[CreatePassage]) -> list[Passage]:
    """Store passages and make them findable; all of them or none.

    Raises:
        letta.errors.NotFound: no such archive.
        letta.errors.InvalidValue: a text is empty or too long; the message says which.
    """
    row = connection.execute(select(archives.c.embedding_config).where(archives.c.id == archive_id)).first()
    if row is None:
        raise NotFound(f"archive {archive_id} not found")
    made = []
    for number, request in enumerate(new):
        _check(request.text, "text" if len(new) == 1 else f"passages.{number}.text")
        moment = now()
        values = {
            "id": new_id("passage"),
            "text": request.text,
            "tags": list(dict.fromkeys(request.tags)) if request.tags is not None else None,
            "metadata": request.metadata,
            "created_at": request.created_at or moment,
            "updated_at": moment,
        }
        made.append(_store(connection, archive_id, values, row.embedding_config))
    return made


def get(connection: Connection, passage_id: str) -> Passage:
    """Raises letta.errors.NotFound."""
    found = named(connection, [passage_id])
    if not found:
        raise NotFound(f"passage {passage_id} not found")
    return found[passage_id]


def named(connection: Connection, passage_ids: Sequence[str]) -> dict[str, Passage]:
    """Passages by id, without those that are gone."""
    query = _query().where(passages.c.id.in_(passage_ids))
    return {row.id: _passage(row, row.embedding_config) for row in connection.execute(query)}


def agent_page(connection: Connection, agent_id: str, *, search: str | None = None, **paging: Any) -> list[Passage]:
    """One page of what is in an agent's archives; with `search`, of what holds this text (capitals do not matter)."""
    mine = select(agent_archives.c.archive_id).where(agent_archives.c.agent_id == agent_id)
    query = _query().where(passages.c.archive_id.in_(mine))
    if search:
        query = query.where(passages.c.text.ilike(like(search), escape="\\"))
    return [_passage(row, row.embedding_config) for row in rows(connection, query, passages, **paging)]


def count(connection: Connection, agent_id: str) -> int:
    """How many passages an agent has in all its archives."""
    query = select(func.count()).select_from(passages).where(_of_agent(agent_id), passages.c.deleted_at.is_(None))
    return int(connection.execute(query).scalar_one())


def tags(connection: Connection, agent_id: str) -> list[str]:
    """The tags of an agent's passages, in alphabetical order."""
    query = select(passage_tags.c.tag).distinct().join(passages, passages.c.id == passage_tags.c.passage_id)
    query = query.where(_of_agent(agent_id), passages.c.deleted_at.is_(None)).order_by(passage_tags.c.tag)
    return list(connection.execute(query).scalars())


def remove(connection: Connection, passage_id: str, archive_ids: Sequence[str]) -> None:
    """Take a passage out of whichever of the archives it is in: kept in the database, shown and found no more.

    Raises:
        letta.errors.NotFound: none of them holds it.
    """
    mine = (passages.c.id == passage_id) & passages.c.archive_id.in_(archive_ids) & passages.c.deleted_at.is_(None)
    gone = update(passages).where(mine).values(deleted_at=now(), updated_at=now()).returning(passages.c.archive_id)
    archive_id = connection.execute(gone).scalar()
    if archive_id is None:
        raise NotFound(f"passage {passage_id} not found")
    pieces.remove_items(connection, archive_id, [passage_id])


def _check(text: str, name: str) -> None:
    if not text.strip():
        raise InvalidValue(f"{name} is empty: a passage needs some text")
    if len(text) > LONGEST:
        raise InvalidValue(f"{name} has {len(text)} characters, the limit is {LONGEST}: split it")


def _store(connection: Connection, archive_id: str, values: dict[str, Any], config: Any) -> Passage:
    connection.execute(insert(passages).values(archive_id=archive_id, **values))
    tagged = [{"passage_id": values["id"], "tag": tag} for tag in values["tags"] or ()]
    if tagged:
        connection.execute(insert(passage_tags), tagged)
    pieces.add_passage(connection, archive_id, values["id"], values["text"], values["created_at"])
    return Passage(
        **values,
        archive_id=archive_id,
        embedding_config=EmbeddingConfig.model_validate(config) if config else None,
    )


def _query() -> Select[Any]:
    joined = select(passages, archives.c.embedding_config).join(archives, archives.c.id == passages.c.archive_id)
    return joined.where(passages.c.deleted_at.is_(None))


def _of_agent(agent_id: str) -> Any:
    return passages.c.archive_id.in_(select(agent_archives.c.archive_id).where(agent_archives.c.agent_id == agent_id))


def _passage(row: Any, config: Any) -> Passage:
    return Passage(
        id=row.id,
        text=row.text,
        embedding_config=EmbeddingConfig.model_validate(config) if config else None,
        archive_id=row.archive_id,
        tags=row.tags,
        metadata=row.metadata,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
