"""Archives and who reads them. Knows nothing of what is in them."""

from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from letta.errors import NotFound
from letta.schemas.archives import Archive
from letta.schemas.common import new_id
from letta.store import pieces
from letta.store.query import now, rows
from letta.store.tables import agent_archives, agents, archives


def create(connection: Connection, values: dict[str, Any]) -> Archive:
    """Store a new archive: its columns, without id and times."""
    archive_id, moment = new_id("archive"), now()
    connection.execute(insert(archives).values(id=archive_id, created_at=moment, updated_at=moment, **values))
    return get(connection, archive_id)


def get(connection: Connection, archive_id: str) -> Archive:
    """Raises letta.errors.NotFound."""
    row = connection.execute(select(archives).where(archives.c.id == archive_id)).first()
    if row is None:
        raise NotFound(f"archive {archive_id} not found")
    return _archive(row)


def list_page(
    connection: Connection, /, *, agent_id: str | None = None, name: str | None = None, **paging: Any
) -> list[Archive]:
    """One page of archives, of those an agent reads, or with exactly this name."""
    query = select(archives)
    if agent_id is not None:
        query = query.where(archives.c.id.in_(_ids_of(agent_id)))
    if name is not None:
        query = query.where(archives.c.name == name)
    return [_archive(row) for row in rows(connection, query, archives, **paging)]


def change(connection: Connection, archive_id: str, values: dict[str, Any]) -> Archive:
    """Write columns. With another `embedding` everything in the archive is embedded again, in the background.

    Raises:
        letta.errors.NotFound: no such archive.
    """
    before = connection.execute(
        select(archives.c.embedding).where(archives.c.id == archive_id).with_for_update()
    ).first()
    if before is None:
        raise NotFound(f"archive {archive_id} not found")
    connection.execute(update(archives).where(archives.c.id == archive_id).values(**values, updated_at=now()))
    if "embedding" in values and values["embedding"] != before.embedding:
        pieces.set_model(connection, archive_id, values["embedding"])
    return get(connection, archive_id)


def remove(connection: Connection, archive_id: str) -> None:
    """Delete an archive with its passages. Raises letta.errors.NotFound."""
    pieces.remove_owner(connection, archive_id)
    _touch_readers(connection, archive_id)
    if connection.execute(delete(archives).where(archives.c.id == archive_id)).rowcount == 0:
        raise NotFound(f"archive {archive_id} not found")


def embedding_of(connection: Connection, archive_id: str) -> str | None:
    """The handle of the archive's embedding model. Raises letta.errors.NotFound."""
    row = connection.execute(select(archives.c.embedding).where(archives.c.id == archive_id)).first()
    if row is None:
        raise NotFound(f"archive {archive_id} not found")
    handle: str | None = row.embedding
    return handle


# -- archives of an agent ----------------------------------------------------------------------------------------------


def attach(connection: Connection, agent_id: str, archive_id: str) -> None:
    """Let the agent read and write an archive; one it has already stays. Raises letta.errors.NotFound."""
    if connection.execute(select(agents.c.id).where(agents.c.id == agent_id).with_for_update()).first() is None:
        raise NotFound(f"agent {agent_id} not found")
    get(connection, archive_id)
    if archive_id not in ids_of(connection, agent_id):
        connection.execute(insert(agent_archives).values(agent_id=agent_id, archive_id=archive_id, created_at=now()))
        _touch(connection, agent_id)


def detach(connection: Connection, agent_id: str, archive_id: str) -> None:
    """Take an archive from the agent; the archive stays. Raises letta.errors.NotFound."""
    gone = delete(agent_archives).where(
        agent_archives.c.agent_id == agent_id, agent_archives.c.archive_id == archive_id
    )
    if connection.execute(gone).rowcount == 0:
        raise NotFound(f"archive {archive_id} is not attached to agent {agent_id}")
    _touch(connection, agent_id)


def ids_of(connection: Connection, agent_id: str) -> list[str]:
    """The archives of an agent, in the order they were attached."""
    return list(connection.execute(_ids_of(agent_id)).scalars())


def own(connection: Connection, agent_id: str) -> str:
    """The archive an agent writes to: the first it has, or else a new one with the agent's embedding model.

    Raises:
        letta.errors.NotFound: no such agent.
    """
    query = select(agents.c.name, agents.c.embedding, agents.c.embedding_config).where(agents.c.id == agent_id)
    # Held, so that two first inserts at once do not both make an archive.
    agent = connection.execute(query.with_for_update()).first()
    if agent is None:
        raise NotFound(f"agent {agent_id} not found")
    if mine := ids_of(connection, agent_id):
        return mine[0]
    values = {
        "name": f"{agent.name}'s archive",
        "embedding": agent.embedding,
        "embedding_config": agent.embedding_config,
    }
    archive = create(connection, values)
    attach(connection, agent_id, archive.id)
    return archive.id


def _ids_of(agent_id: str) -> Any:
    mine = select(agent_archives.c.archive_id).where(agent_archives.c.agent_id == agent_id)
    return mine.order_by(agent_archives.c.created_at, agent_archives.c.archive_id)


def _touch(connection: Connection, agent_id: str) -> None:
    connection.execute(
        update(agents).where(agents.c.id == agent_id).values(version=agents.c.version + 1, updated_at=now())
    )


def _touch_readers(connection: Connection, archive_id: str) -> None:
    mine = select(agent_archives.c.agent_id).where(agent_archives.c.archive_id == archive_id)
    connection.execute(update(agents).where(agents.c.id.in_(mine)).values(version=agents.c.version + 1))


def _archive(row: Any) -> Archive:
    values = {name: getattr(row, name) for name in ("id", "name", "description", "metadata", "embedding_config")}
    return Archive.model_validate({**values, "created_at": row.created_at, "updated_at": row.updated_at})
