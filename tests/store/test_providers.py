"""Providers as rows."""

import pytest

from letta.errors import Conflict, NotFound
from letta.schemas.llm_config import ProviderCategory
from letta.schemas.providers import Provider, ProviderType
from letta.store import providers
from letta.store.access import Database
from letta.store.providers import StoredProvider

MINE = {"name": "mine", "provider_type": "openai", "base_url": "http://localhost:1/v1", "secrets": b"locked"}


async def test_a_provider_is_kept_with_its_locked_secrets_and_shown_without(database: Database) -> None:
    made = await database.write(providers.create, {**MINE, "region": "eu", "api_version": "v2"})
    assert made == Provider(
        id=made.id,
        name="mine",
        provider_type=ProviderType.OPENAI,
        provider_category=ProviderCategory.BYOK,
        base_url="http://localhost:1/v1",
        region="eu",
        api_version="v2",
        created_at=made.created_at,
        updated_at=made.updated_at,
    )
    assert await database.read(providers.get, made.id) == StoredProvider(made, b"locked")
    assert await database.read(providers.list_all) == [StoredProvider(made, b"locked")]


async def test_a_name_is_taken_once(database: Database) -> None:
    await database.write(providers.create, MINE)
    with pytest.raises(Conflict, match="name: there is a provider called 'mine' already"):
        await database.write(providers.create, MINE)


async def test_a_change_writes_what_is_given_and_keeps_the_rest(database: Database) -> None:
    made = await database.write(providers.create, MINE)
    changed = await database.write(providers.change, made.id, {"region": "us", "secrets": b"new"})
    assert changed == made.model_copy(update={"region": "us", "updated_at": changed.updated_at})
    assert (await database.read(providers.get, made.id)).secrets == b"new"


async def test_a_sync_is_remembered_and_is_no_change(database: Database) -> None:
    made = await database.write(providers.create, MINE)
    synced = await database.write(providers.note_sync, made.id)
    assert synced.last_synced is not None
    assert synced == made.model_copy(update={"last_synced": synced.last_synced})


async def test_what_does_not_exist_is_not_found(database: Database) -> None:
    for call in (providers.get, providers.note_sync, providers.remove):
        with pytest.raises(NotFound):
            await database.write(call, "provider-0")
    with pytest.raises(NotFound):
        await database.write(providers.change, "provider-0", {"region": "eu"})


async def test_a_removed_provider_is_gone(database: Database) -> None:
    made = await database.write(providers.create, MINE)
    await database.write(providers.remove, made.id)
    assert await database.read(providers.list_all) == []
