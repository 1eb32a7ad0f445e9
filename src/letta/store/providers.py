"""Providers added through the API, as rows. Keys are kept as they come: encrypted. Knows no model and no handle."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from letta.errors import Conflict, NotFound
from letta.schemas.common import new_id
from letta.schemas.llm_config import ProviderCategory
from letta.schemas.providers import Provider, ProviderType
from letta.store.query import now
from letta.store.tables import providers


@dataclass(frozen=True, slots=True)
class StoredProvider:
    """A provider and its locked secrets (see `letta.store.vault`), which no answer may carry."""

    shown: Provider
    secrets: bytes | None


def create(connection: Connection, values: dict[str, Any]) -> Provider:
    """Store a new provider; `values` are columns. Raises letta.errors.Conflict when its name is taken."""
    provider_id, moment = new_id("provider"), now()
    taken = Conflict(f"name: there is a provider called {values['name']!r} already")
    if connection.execute(select(providers.c.id).where(providers.c.name == values["name"])).first() is not None:
        raise taken
    try:
        connection.execute(insert(providers).values(id=provider_id, created_at=moment, updated_at=moment, **values))
    except IntegrityError:
        # Another request stored the same name at the same moment.
        raise taken from None
    return get(connection, provider_id).shown


def get(connection: Connection, provider_id: str, *, hold: bool = False) -> StoredProvider:
    """With `hold` nobody else can change it until the transaction ends. Raises letta.errors.NotFound."""
    query = select(providers).where(providers.c.id == provider_id)
    row = connection.execute(query.with_for_update() if hold else query).first()
    if row is None:
        raise NotFound(f"provider {provider_id} not found")
    return _stored(row)


def list_all(connection: Connection) -> list[StoredProvider]:
    """All of them, oldest first."""
    query = select(providers).order_by(providers.c.created_at, providers.c.id)
    return [_stored(row) for row in connection.execute(query)]


def change(connection: Connection, provider_id: str, values: dict[str, Any]) -> Provider:
    """Write columns. Raises letta.errors.NotFound."""
    changed = update(providers).where(providers.c.id == provider_id).values(**values, updated_at=now())
    if connection.execute(changed).rowcount == 0:
        raise NotFound(f"provider {provider_id} not found")
    return get(connection, provider_id).shown


def note_sync(connection: Connection, provider_id: str) -> Provider:
    """Remember that its models were listed now. Raises letta.errors.NotFound."""
    connection.execute(update(providers).where(providers.c.id == provider_id).values(last_synced=now()))
    return get(connection, provider_id).shown


def remove(connection: Connection, provider_id: str) -> None:
    """Delete a provider and its key. Raises letta.errors.NotFound."""
    if connection.execute(delete(providers).where(providers.c.id == provider_id)).rowcount == 0:
        raise NotFound(f"provider {provider_id} not found")


def _stored(row: Any) -> StoredProvider:
    shown = Provider(
        id=row.id,
        name=row.name,
        provider_type=ProviderType(row.provider_type),
        provider_category=ProviderCategory.BYOK,
        base_url=row.base_url,
        region=row.region,
        api_version=row.api_version,
        created_at=row.created_at,
        updated_at=row.updated_at,
        last_synced=row.last_synced,
    )
    return StoredProvider(shown, row.secrets)
