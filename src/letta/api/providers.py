"""Providers: `/v1/providers`. Those added here hold a key, which goes into the vault and never comes out in an answer.

Providers of the server's environment are listed too and cannot be changed here.
"""

import asyncio
import logging
from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from fastapi import Query
from sqlalchemy import Connection

from letta.api import routes
from letta.api.context import Page, Paging, Parts, ProviderId, Server, reply
from letta.errors import InvalidRequest, InvalidValue, NotFound, StoreUnavailable
from letta.models.kinds import KINDS, kind_of
from letta.models.provider import ProviderConfig, provider_type
from letta.models.registry import Registry
from letta.schemas.llm_config import ProviderCategory
from letta.schemas.providers import CheckProvider, CreateProvider, Provider, ProviderType, UpdateProvider
from letta.store import providers
from letta.store.access import Database
from letta.store.notices import Notices, rung
from letta.store.providers import StoredProvider
from letta.store.vault import Vault

router = routes.router(prefix="/v1/providers", tags=["providers"])
log = logging.getLogger(__name__)

_SECRET = ("api_key", "access_key")
_OPEN = ("base_url", "region", "api_version")
_NEEDS_ADDRESS = "azure"
_CHANGED = "providers"
_RELOAD = 15.0
_turns: WeakKeyDictionary[Registry, asyncio.Lock] = WeakKeyDictionary()


async def load_byok(database: Database, vault: Vault) -> list[ProviderConfig]:
    """The providers added through the API, ready for `Registry.set_byok`.

    One whose secrets another encryption key locked is logged and left out: it must not keep the server from starting.
    """
    found: list[ProviderConfig] = []
    for stored in await database.read(providers.list_all):
        try:
            found.append(_config(stored.shown, vault.open(stored.secrets)))
        except InvalidRequest as error:
            log.error("provider %s is not used: %s", stored.shown.name, error.message)
    return found


@router.get("", response_model=list[Provider])
async def list_providers(
    parts: Parts,
    page: Paging,
    name: str | None = None,
    provider_type: Annotated[ProviderType | None, Query()] = None,
) -> Any:
    """Providers added here by age, then those of the server's environment."""
    added = [stored.shown for stored in await parts.database.read(providers.list_all)]
    known = [*(added if page.order == "asc" else reversed(added)), *_base(parts).values()]
    wanted = [one for one in known if name in (None, one.name) and provider_type in (None, one.provider_type)]
    return reply([_shown(one) for one in _cut(wanted, known, page)])


@router.post("", response_model=Provider)
async def create_provider(parts: Parts, body: CreateProvider) -> Any:
    _usable(body.provider_type, body.base_url)
    values = {
        **body.model_dump(include={"name", "provider_type", *_OPEN}),
        "secrets": parts.vault.lock(_secrets(body.model_dump(include=set(_SECRET)))),
    }
    created = await parts.database.write(providers.create, values)
    await _renew(parts)
    return reply(_shown(created))


@router.post("/check", response_model=dict[str, str])
async def check_provider(parts: Parts, body: CheckProvider) -> Any:
    """Try a key and an address out without storing them."""
    _usable(body.provider_type, body.base_url)
    given = body.model_dump()
    shown = Provider(
        id="", name=body.provider_type, provider_category=ProviderCategory.BYOK,
        **{name: given[name] for name in ("provider_type", *_OPEN)},
    )  # fmt: skip
    await parts.registry.check(_config(shown, _secrets(given)))
    return reply(_works(shown))


@router.get("/{provider_id}", response_model=Provider)
async def retrieve_provider(parts: Parts, provider_id: ProviderId) -> Any:
    if (base := _base(parts).get(provider_id)) is not None:
        return reply(base)
    return reply(_shown((await parts.database.read(providers.get, provider_id)).shown))


@router.patch("/{provider_id}", response_model=Provider)
async def update_provider(parts: Parts, provider_id: ProviderId, body: UpdateProvider) -> Any:
    """Change how a provider is reached. Absent fields stay, null clears them."""
    _not_base(parts, provider_id)
    changed = await parts.database.write(_change, parts.vault, provider_id, body.changes())
    await _renew(parts)
    return reply(_shown(changed))


@router.delete("/{provider_id}", response_model=dict[str, str])
async def delete_provider(parts: Parts, provider_id: ProviderId) -> Any:
    _not_base(parts, provider_id)
    await parts.database.write(providers.remove, provider_id)
    await _renew(parts)
    return reply({"message": f"Provider {provider_id} deleted"})


@router.post("/{provider_id}/check", response_model=dict[str, str])
async def check_stored_provider(parts: Parts, provider_id: ProviderId) -> Any:
    """Try the key that is stored."""
    shown, config = await _find(parts, provider_id)
    await parts.registry.check(config)
    return reply(_works(shown))


@router.patch("/{provider_id}/refresh", response_model=Provider)
async def refresh_provider(parts: Parts, provider_id: ProviderId) -> Any:
    """Ask the provider for its models now."""
    shown, config = await _find(parts, provider_id)
    await parts.registry.refresh(config.name)
    if shown.provider_category == ProviderCategory.BYOK:
        shown = await parts.database.write(providers.note_sync, provider_id)
    return reply(_shown(shown))


# -- configs -----------------------------------------------------------------------------------------------------------


def _config(shown: Provider, secrets: Mapping[str, str]) -> ProviderConfig:
    options = {"region": shown.region, "api_version": shown.api_version, "access_key": secrets.get("access_key")}
    return ProviderConfig(
        name=shown.name,
        type=shown.provider_type,
        base_url=shown.base_url,
        api_key=secrets.get("api_key") or None,
        category="byok",
        id=shown.id,
        options={name: value for name, value in options.items() if value},
    )


def _secrets(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: values[name] for name in _SECRET if values.get(name)}


def _usable(kind: ProviderType, base_url: str | None) -> None:
    """Raises letta.errors.InvalidValue for what no client could be made of."""
    row = KINDS.get(kind)
    if row is None:
        supported = sorted(known.value for known in ProviderType if known in KINDS)
        raise InvalidValue(f"provider_type: {kind.value!r} is not supported here, must be one of {supported}")
    if not base_url:
        if row.local or kind == _NEEDS_ADDRESS:
            raise InvalidValue(f"base_url: {kind.value} has no address of its own; give your server's, with http(s)://")
        return
    if not _is_address(base_url):
        raise InvalidValue("base_url: must be an address that begins with http:// or https://")


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _change(connection: Connection, vault: Vault, provider_id: str, changes: dict[str, Any]) -> Provider:
    stored = providers.get(connection, provider_id, hold=True)
    if "base_url" in changes:
        _usable(stored.shown.provider_type, changes["base_url"])
    values = {name: changes[name] for name in _OPEN if name in changes}
    if changes.keys() & set(_SECRET):
        kept = _readable(vault, stored, changes)
        values["secrets"] = vault.lock(_secrets({**kept, **changes}))
    return providers.change(connection, provider_id, values)


def _readable(vault: Vault, stored: StoredProvider, changes: Mapping[str, Any]) -> dict[str, str]:
    """The secrets that stay. Those that can no longer be read need not be, where all of them are replaced."""
    return {} if set(_SECRET) <= changes.keys() else vault.open(stored.secrets)


async def _renew(parts: Server) -> None:
    """Give the registry what is stored now, and tell the other replicas."""
    await _load(parts.database, parts.vault, parts.registry)
    parts.notices.tell(_CHANGED, everybody=True)


async def _load(database: Database, vault: Vault, registry: Registry) -> None:
    """One after the other, so that an older list never comes last."""
    async with _turns.setdefault(registry, asyncio.Lock()):
        registry.set_byok(await load_byok(database, vault))


async def keep_current(database: Database, vault: Vault, registry: Registry, notices: Notices) -> None:
    """Load the providers again whenever another replica changed them, for ever; often enough where none can tell."""
    with notices.watch(_CHANGED) as changed:
        while True:
            if await rung(changed, _RELOAD) or not notices.reach:
                changed.clear()
                try:
                    await _load(database, vault, registry)
                except StoreUnavailable:
                    log.warning("providers are read again later")


# -- providers of the environment --------------------------------------------------------------------------------------


def _base_configs(parts: Server) -> dict[str, ProviderConfig]:
    return {config.id: config for config in parts.registry.providers() if config.category == "base"}


def _base(parts: Server) -> dict[str, Provider]:
    return {
        config.id: Provider(
            id=config.id,
            name=config.name,
            provider_type=provider_type(config.type),
            provider_category=ProviderCategory.BASE,
            base_url=config.shown_url,
            region=config.options.get("region"),
            api_version=config.options.get("api_version"),
        )
        for config in _base_configs(parts).values()
    }


async def _find(parts: Server, provider_id: str) -> tuple[Provider, ProviderConfig]:
    """A provider, and how it is reached.

    Raises letta.errors.NotFound, and letta.errors.InvalidRequest when its secrets cannot be read.
    """
    if (config := _base_configs(parts).get(provider_id)) is not None:
        return _base(parts)[provider_id], config
    stored = await parts.database.read(providers.get, provider_id)
    return stored.shown, _config(stored.shown, parts.vault.open(stored.secrets))


def _not_base(parts: Server, provider_id: str) -> None:
    config = _base_configs(parts).get(provider_id)
    if config is None:
        return
    raise InvalidRequest(
        f"provider {config.name} comes from the server's environment or this machine and cannot be changed here: set "
        f"{kind_of(config).variables} and restart the server"
    )


# -- answers -----------------------------------------------------------------------------------------------------------


def _shown(provider: Provider) -> Provider:
    """Without what a base URL may carry: a name and a password."""
    url = ProviderConfig(provider.name, provider.provider_type, provider.base_url).shown_url
    return provider.model_copy(update={"base_url": url})


def _works(shown: Provider) -> dict[str, str]:
    return {"message": f"Provider {shown.name} ({shown.provider_type}) answers and lists its models"}


def _cut(wanted: list[Provider], known: list[Provider], page: Page) -> list[Provider]:
    """One page of `wanted`, a part of `known` in its order, in which the cursors are looked up."""
    places = {one.id: place for place, one in enumerate(known)}
    for cursor in (page.after, page.before):
        if cursor and cursor not in places:
            raise NotFound(f"cursor {cursor!r} not found: `after` and `before` take the id of a provider")
    first = places[page.after] if page.after else -1
    last = places[page.before] if page.before else len(known)
    between = [one for one in wanted if first < places[one.id] < last]
    return between[-page.limit :] if page.before and not page.after else between[: page.limit]
