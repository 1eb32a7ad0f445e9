"""Handles to models: which providers there are, what each offers, and the client that answers for `provider/model`.

Knows nothing of agents, of where keys are stored, or of the environment (see `letta.models.discovery`).
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from letta.errors import InvalidRequest, NotFound
from letta.models.kinds import KINDS, canonical, kind_of, make, validate
from letta.models.protocol import Model, ModelCard
from letta.models.provider import Provider, ProviderConfig, Resolved
from letta.models.stand_in import SCRIPTED_HANDLE, StandIn
from letta.schemas.models import EmbeddingModel
from letta.schemas.models import Model as ListedModel

_log = logging.getLogger(__name__)

PATIENCE = 5.0
"""Seconds a reader of the model list waits for providers that were never listed."""
RETIRE_AFTER = 900.0
"""Seconds a replaced provider's client stays open for the calls that still run on it."""
LONGEST_HANDLE = 256
"""Characters of a handle."""
MOST_NAMED = 20
"""Handles named in an error message."""


@dataclass(frozen=True, slots=True)
class ProviderStatus:
    """What is known of a provider. `ok` is None as long as it was not asked; `models` is the length of its list."""

    name: str
    ok: bool | None
    error: str | None
    models: int


class Registry:
    """All providers of a server: those of its settings (base) and those added through the API (byok).

    `scripted` is the built-in model (made on demand when None). With `scripted_handles` it answers for every handle
    that is well formed. `default` is the handle for agents that name none. `patience` is in seconds, see `models`.
    `read_seconds` is how long a model may stay silent, where its client takes that; None leaves it to the client.
    `clock` counts seconds for the age of lists.
    """

    def __init__(
        self,
        providers: Iterable[ProviderConfig] = (),
        *,
        scripted: Model | None = None,
        scripted_handles: bool = False,
        default: str | None = None,
        patience: float = PATIENCE,
        read_seconds: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stand_in = StandIn(scripted)
        self._scripted_handles = scripted_handles
        self._default = default
        self._patience = patience
        self._read_seconds = read_seconds
        self._clock = clock
        self._base: dict[str, Provider] = {}
        self._byok: dict[str, Provider] = {}
        self._retired: list[Provider] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.add(providers)

    def providers(self) -> list[ProviderConfig]:
        """The providers in use, base ones first."""
        return [provider.config for provider in self._providers()]

    def provider_config(self, prefix: str) -> ProviderConfig | None:
        """The provider that handles beginning with `prefix` mean, in any of its spellings."""
        provider = self._provider(prefix)
        return None if provider is None else provider.config

    def add(self, configs: Iterable[ProviderConfig]) -> None:
        """Add base providers, such as local servers found later; a name that is already there stays as it is.

        Raises:
            InvalidRequest: see `validate`.
        """
        for config in configs:
            if config.name not in self._base:
                self._base[config.name] = self._use(config)

    def set_byok(self, configs: Iterable[ProviderConfig]) -> None:
        """Make these the providers added through the API. Unchanged ones keep their connections and lists.

        A name that a base provider has too means the one added here. Calls that run on a replaced one end normally. A
        config that `validate` refuses is left out with a line in the log: one bad row must not stop a server.
        """
        old, self._byok = self._byok, {}
        for config in configs:
            known = old.get(config.name)
            try:
                self._byok[config.name] = known if known and known.config == config else self._use(config)
            except InvalidRequest as error:
                _log.warning("provider %s is left out: %s", config.name, error.message)
        for name, provider in old.items():
            if self._byok.get(name) is not provider:
                self._retired.append(provider)
                task = asyncio.create_task(self._retire(provider), name=f"close the old connections of {name}")
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def check(self, config: ProviderConfig) -> None:
        """Try a provider's key and address by listing its models, without adding it.

        Raises:
            InvalidRequest: the kind is unknown, a package is missing, or no key was given where one is needed.
            ModelError: what the provider answered: a wrong key, no such address, no answer in time.
        """
        provider = self._use(config)
        try:
            await provider.check()
        finally:
            await provider.aclose()

    async def refresh(self, name: str) -> list[ModelCard]:
        """Ask a provider for its models now.

        Raises:
            NotFound: no provider has this name.
            ModelError: the provider failed; the list it gave before stays in use.
        """
        if (provider := self._provider(name)) is None:
            raise NotFound(f"Provider {name} not found, must be one of {[config.name for config in self.providers()]}")
        return await provider.relisted()

    def status(self) -> list[ProviderStatus]:
        """How each provider did when it was last asked; await `models` first to have them all asked."""
        return [
            ProviderStatus(
                name=provider.config.name,
                ok=None if provider.error is None and provider.cards is None else provider.error is None,
                error=provider.error.message if provider.error else None,
                models=len(provider.cards or ()),
            )
            for provider in self._providers()
        ]

    def warm(self) -> None:
        """Start fetching every list in the background, so that the first reader finds them."""
        for provider in self._providers():
            provider.refresh()

    async def aclose(self) -> None:
        """Close every client, also those of replaced providers, and stop what runs in the background."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(provider.aclose() for provider in [*self._providers(), *self._retired]))
        self._retired.clear()
        await self._stand_in.aclose()

    async def models(self) -> list[ListedModel]:
        """Every model one can talk to, the built-in one first, each provider's in its own order.

        Providers are asked at the same time. One that was listed before answers from that list at once, and is asked
        anew in the background after ten minutes; one that was never listed is waited for up to `patience` seconds; one
        that fails is left out (see `status`).
        """
        await self._listed()
        found = [self.resolve(SCRIPTED_HANDLE).info]
        for provider in self._providers():
            models = provider.models()
            found += models
            if provider.config.name == "openai" and not provider.official:
                found += [model.model_copy(update={"handle": f"openai-proxy/{model.name}"}) for model in models]
        return list({model.handle: model for model in found}.values())

    async def embeddings(self) -> list[EmbeddingModel]:
        """Every embedding model whose vector length is known, listed like `models`."""
        await self._listed()
        found = [model for provider in self._providers() for model in provider.embeddings()]
        return list({model.handle: model for model in found}.values())

    def default_handle(self) -> str:
        """The handle for an agent that names none: the setting, or the built-in model where no provider is configured.

        Raises:
            InvalidRequest: providers are configured, so that a choice has to be made; the message names the options.
        """
        if self._default:
            return self._default
        if self._scripted_handles or not self._providers():
            return SCRIPTED_HANDLE
        raise InvalidRequest(
            f"No model given: set `model` to one of {_named(self._handles())}, or LETTA_DEFAULT_MODEL on the server."
        )

    def resolve(self, handle: str) -> Resolved:
        """The model of a handle, from what is known now, without asking anybody.

        A provider's fresh list decides where it is known to be complete. Otherwise, and always for local servers, any
        name is taken, and the provider has the last word when it is called. `openai-proxy/` means `openai/`.

        Raises:
            InvalidRequest: the handle is not of the form `provider/model`, or its provider is not usable as configured.
            NotFound: no such provider or model; the message names the options and how to configure the provider.
        """
        handle = handle.strip()
        prefix, slash, name = handle.partition("/")
        if not slash:
            return self.resolve(self._completed(handle))
        if not prefix or not name or " " in handle or not handle.isprintable() or len(handle) > LONGEST_HANDLE:
            shown = handle[:LONGEST_HANDLE]
            raise InvalidRequest(f"Handle {shown!r} is not of the form provider/model, for example openai/gpt-4o.")
        if self._scripted_handles or handle == SCRIPTED_HANDLE:
            return self._stand_in.resolve(prefix, name)
        if (provider := self._provider(prefix)) is None:
            raise NotFound(f"Handle {handle} not found, must be one of {_named(self._handles())}. {_advice(prefix)}")
        if provider.exact and provider.card(name) is None:
            raise NotFound(f"Handle {handle} not found, must be one of {_named(provider.handles())}")
        return provider.resolve(name)

    async def find(self, handle: str) -> Resolved:
        """Like `resolve`, but first gives the provider a chance to say what it has (up to `patience` seconds).

        For the moment a handle is chosen: the answer knows the endpoint's context window, and a name the list lacks is
        looked for in a new list before it is refused.

        Raises:
            InvalidRequest, NotFound: as `resolve`.
        """
        prefix, slash, _ = handle.strip().partition("/")
        if self._scripted_handles or handle.strip() == SCRIPTED_HANDLE:
            return self.resolve(handle)
        if not slash:
            await self._listed()
            return self.resolve(handle)
        if (provider := self._provider(prefix)) is None:
            return self.resolve(handle)
        await provider.listed(self._patience)
        try:
            return await asyncio.to_thread(
                self.resolve, handle
            )  # a first use may import a library, which takes seconds
        except NotFound:
            await asyncio.wait({provider.refresh()}, timeout=self._patience)
            return self.resolve(handle)

    def _use(self, config: ProviderConfig) -> Provider:
        validate(config)
        return Provider(config, kind_of(config), self._make, clock=self._clock)

    def _make(self, config: ProviderConfig, target: str, arguments: Mapping[str, Any]) -> Model:
        return make(config, target, arguments, read_seconds=self._read_seconds)

    async def _retire(self, provider: Provider) -> None:
        await asyncio.sleep(RETIRE_AFTER)
        self._retired.remove(provider)
        await provider.aclose()

    def _providers(self) -> list[Provider]:
        return list({**self._base, **self._byok}.values())

    def _provider(self, name: str) -> Provider | None:
        for word in (name, name.lower(), canonical(name)):
            if found := self._byok.get(word) or self._base.get(word):
                return found
        return None

    async def _listed(self) -> None:
        await asyncio.gather(*(provider.listed(self._patience) for provider in self._providers()))

    def _handles(self) -> list[str]:
        return [SCRIPTED_HANDLE, *(handle for provider in self._providers() for handle in provider.handles())]

    def _completed(self, name: str) -> str:
        """A model's name with its provider: whose list has it, else the only provider, else the default's."""
        providers = self._providers()
        having = [provider for provider in providers if provider.card(name) is not None]
        chosen = [provider.config.name for provider in (having if len(having) == 1 else providers)]
        if len(chosen) != 1 and self._default and "/" in self._default:
            chosen = [self._default.partition("/")[0]]
        if name and len(chosen) == 1:
            return f"{chosen[0]}/{name}"
        options = [f"{provider.config.name}/{name}" for provider in having] or self._handles()
        shown = name[:LONGEST_HANDLE]
        raise InvalidRequest(f"Handle {shown!r} is not of the form provider/model: write one of {_named(options)}.")


def _named(handles: Sequence[str]) -> str:
    """The options of an error message, cut to a length a person reads."""
    more = len(handles) - MOST_NAMED
    return f"{list(handles[:MOST_NAMED])}" + (f" and {more} more (GET /v1/models)" if more > 0 else "")


def _advice(prefix: str) -> str:
    """What to set on the server so that handles with this first part work."""
    name = canonical(prefix)
    if name == "letta":
        return f"The only model of that name here is {SCRIPTED_HANDLE}."
    if (kind := KINDS.get(name)) is None:
        return f"No provider is called {prefix}: add one through the API, or set one of {list(KINDS)} up on the server."
    if not kind.variables:
        return f"Add a provider of type {name} through the API to use {prefix} models."
    return (
        f"To use {prefix} models set {kind.variables} in the server's environment and restart it, or add the provider "
        "through the API; LETTA_SCRIPTED_MODELS=1 answers every handle with the built-in model."
    )
