"""One configured provider: its address and key, its lazily made clients, and what it last said about its models.

Knows how to keep a model list fresh without making anybody wait for a slow or dead provider. Knows nothing of other
providers, of the environment, or of where a key is stored.
"""

import asyncio
import logging
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

from letta.errors import InvalidRequest, LettaError, ModelError, ModelTimeout
from letta.models import catalog
from letta.models.http import Endpoint
from letta.models.protocol import Model, ModelCard
from letta.schemas.llm_config import EmbeddingEndpointType, ModelEndpointType, ProviderCategory
from letta.schemas.models import EmbeddingModel
from letta.schemas.models import Model as ListedModel
from letta.schemas.providers import ProviderType

LIST_TTL = 600.0
"""Seconds a model list counts as fresh."""
RETRY_AFTER = 30.0
"""Seconds before a provider that could not be listed is asked again by itself."""
FETCH_TIMEOUT = 15.0
"""Seconds a provider has to send its whole list."""
UNKNOWN_WINDOW = 32_000
"""Tokens assumed for a model of which neither its endpoint nor the catalog knows the window."""
UNKNOWN_LOCAL_WINDOW = 8_192
"""The same for a server on one's own machine, which cuts prompts silently when the guess is too high."""

Make = Callable[["ProviderConfig", str, Mapping[str, Any]], Model]
"""Constructs a provider's client from its config, a `module:Class` and the arguments of that class."""

_log = logging.getLogger(__name__)
_PROVIDER_TYPES = frozenset(ProviderType)
_ENDPOINT_TYPES = frozenset(ModelEndpointType)
_EMBEDDING_ENDPOINT_TYPES = frozenset(EmbeddingEndpointType)
_VERSION = re.compile(r"(?:[-:](?:latest|preview|exp|0|\d{2}-\d{2}|\d{3,4}|20\d{6}|20\d{2}-\d{2}-\d{2}))+$")


@dataclass(frozen=True, slots=True)
class ProviderConfig:
    """How one provider is reached. Frozen: a changed provider is another config.

    `name` is what its handles begin with, `type` the wire's word for it, `kind` its row in `letta.models.kinds` (the
    type's own row when empty). `options` are extra arguments of the provider's client: `region`, `access_key`,
    `api_version`, `project`, `location`.
    """

    name: str
    type: str
    base_url: str | None = None
    api_key: str | None = field(default=None, repr=False)
    category: Literal["base", "byok"] = "base"
    id: str = ""
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    kind: str = ""

    @property
    def shown_url(self) -> str | None:
        """The base URL without credentials or query, fit for answers and logs."""
        if not self.base_url:
            return None
        parts = urlsplit(self.base_url)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


@dataclass(frozen=True, slots=True)
class Kind:
    """One way to reach models: a row of `letta.models.kinds`.

    `loads` names the client class as `module:Class`, `arguments` are constant arguments of it, and `takes` the options
    of a config that it understands. `routes` are patterns of model names that take another client (class, arguments) at
    the maker's own address. `keys` and `urls` are environment variables, the preferred first; `optional_key` allows a
    base URL alone. `exact`: the list is complete, so that a name it lacks does not exist. `key_check` is a path that
    refuses a wrong key where the list does not. `also` are other spellings of the first part of its handles.
    `needs` says which variables set it up where that takes more than one of `keys` and `urls`.
    """

    loads: str
    base_url: str | None = None
    keys: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    arguments: Mapping[str, Any] = field(default_factory=dict)
    takes: tuple[str, ...] = ()
    routes: tuple[tuple[re.Pattern[str], str, Mapping[str, Any]], ...] = ()
    optional_key: bool = False
    local: bool = False
    exact: bool = False
    key_check: str = ""
    embeddings: tuple[str, ...] = ()
    endpoint_type: str = ""
    needs: str = ""

    @property
    def variables(self) -> str:
        """The environment variables that set it up, as a sentence names them; empty where none do."""
        return self.needs or " or ".join(self.urls if self.local else (*self.keys, *self.urls))


@dataclass(frozen=True, slots=True)
class Resolved:
    """A handle turned into something to call.

    `name` is the provider's own name of the model, `handle` the canonical `provider/name`, `provider` its first part.
    Sizes are in tokens. `info` is the model as the API lists it, usable as an agent's `llm_config`.
    """

    model: Model
    name: str
    handle: str
    provider: str
    context_window: int
    max_output_tokens: int
    info: ListedModel


class Provider:
    """A provider in use: answers from what it knows, and asks the endpoint in the background."""

    def __init__(
        self, config: ProviderConfig, kind: Kind, make: Make, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.config = config
        self.kind = kind
        self._make = make
        self.error: LettaError | None = None
        self.cards: dict[str, ModelCard] | None = None
        self._clock = clock
        self._asked_at = float("-inf")
        self._fetching: asyncio.Task[None] | None = None
        self._clients: dict[str, Model] = {}
        self._making = threading.Lock()
        self._resolved: dict[str, Resolved] = {}
        self._spellings: dict[str, ModelCard] = {}
        self._models: list[ListedModel] | None = None
        self._warned: set[str] = set()

    @property
    def official(self) -> bool:
        """Is it the maker's own address, where names and lists mean what they usually mean?"""
        if not self.config.base_url or not self.kind.base_url:
            return True
        host, own = urlsplit(self.config.base_url).hostname or "", urlsplit(self.kind.base_url).hostname or ""
        return host == own or host.endswith("." + own)

    @property
    def exact(self) -> bool:
        """Would a model exist only if it is on the list? True only while the list is fresh."""
        return self.kind.exact and self.official and self.fresh and bool(self.cards)

    @property
    def fresh(self) -> bool:
        """Was the list fetched, and lately?"""
        return self.cards is not None and self._clock() - self._asked_at < LIST_TTL and self.error is None

    def resolve(self, name: str) -> Resolved:
        """The model of this name, without asking the endpoint.

        Raises:
            InvalidRequest: the provider's client cannot be made (a missing extra, a bad address).
        """
        if (found := self._resolved.get(name)) is None:
            info = self.describe(self.card(name) or ModelCard(name))
            found = Resolved(
                model=self.client(name),
                name=name,
                handle=f"{self.config.name}/{name}",
                provider=self.config.name,
                context_window=info.context_window,
                max_output_tokens=info.max_tokens or catalog.answer_limit(info.context_window),
                info=info.model_copy(update={"name": name, "model": name, "handle": f"{self.config.name}/{name}"}),
            )
            self._resolved[name] = found
        return found

    def client(self, name: str = "") -> Model:
        """The client that serves this model, made on first use and shared by all models it serves."""
        target, arguments = self.kind.loads, self.kind.arguments
        if self.official:
            for pattern, other, others in self.kind.routes:
                if pattern.search(name):
                    target, arguments = other, others
        key = f"{target} {arguments}"
        with self._making:
            if key in self._clients:
                return self._clients[key]
            options = {option: value for option, value in self.config.options.items() if option in self.kind.takes}
            client = self._clients[key] = self._make(self.config, target, {**arguments, **options})
            return client

    def card(self, name: str) -> ModelCard | None:
        """What the endpoint said about this model; a dated or `latest` spelling of a listed model counts as it."""
        cards = self.cards or {}
        if (found := cards.get(name) or self._spellings.get(name)) is None:
            stem = _VERSION.sub("", name.lower())
            found = next((card for listed, card in cards.items() if _VERSION.sub("", listed.lower()) == stem), None)
            if found is not None:
                self._spellings[name] = found
        return found

    def describe(self, card: ModelCard) -> ListedModel:
        """The model as the API shows it. Window: the endpoint's word, else the catalog's, else a careful guess."""
        window, output = self._sizes(card)
        name = card.name
        readable = name if self.kind.local or not catalog.known(name) else catalog.display_name(name)
        return ListedModel(
            name=name,
            model=name,
            handle=f"{self.config.name}/{name}",
            display_name=card.display_name or readable,
            context_window=window,
            max_context_window=window,
            max_tokens=output,
            model_endpoint=self.config.shown_url or self.kind.base_url,
            model_endpoint_type=endpoint_type(self.kind.endpoint_type or self.config.kind or self.config.type),
            provider_type=provider_type(self.config.type),
            provider_name=self.config.name,
            provider_category=ProviderCategory(self.config.category),
        )

    def _sizes(self, card: ModelCard) -> tuple[int, int]:
        known = catalog.known(card.name)
        window = card.context_window or self._guess(card.name, known)
        published = known.max_output_tokens if known else None
        output = card.max_output_tokens or published or catalog.answer_limit(window)
        return window, min(output, window)

    def _guess(self, name: str, known: catalog.Known | None) -> int:
        if known and not self.kind.local:
            return known.context_window
        window = min(known.context_window, UNKNOWN_WINDOW) if known else UNKNOWN_WINDOW
        if self.kind.local and not known:
            window = UNKNOWN_LOCAL_WINDOW
        # Before the first list there is nothing to complain about: the endpoint may still say it.
        if self.cards is not None and name not in self._warned:
            self._warned.add(name)
            _log.warning(
                "%s does not say the context window of %s: assuming %d tokens; set context_window_limit on the agent",
                self.config.name,
                name,
                window,
            )
        return window

    def models(self) -> list[ListedModel]:
        """The models one can talk to, as last listed."""
        if self._models is None:
            self._models = [self.describe(card) for card in (self.cards or {}).values() if catalog.chats(card.name)]
        return self._models

    def handles(self) -> list[str]:
        """The handles of `models`."""
        return [f"{self.config.name}/{name}" for name in self.cards or {} if catalog.chats(name)]

    def embeddings(self) -> list[EmbeddingModel]:
        """The embedding models whose vector length is known, as last listed, and those the maker is known to have."""
        listed = [name for name in self.cards or {} if catalog.embeds(name)]
        always = self.kind.embeddings if self.official else ()
        return [
            EmbeddingModel(
                name=name,
                embedding_model=name,
                display_name=name,
                handle=f"{self.config.name}/{name}",
                embedding_dim=size,
                embedding_endpoint=self.config.shown_url or self.kind.base_url,
                embedding_endpoint_type=embedding_endpoint_type(self.config.kind or self.config.type),
                provider_type=provider_type(self.config.type),
                provider_name=self.config.name,
            )
            for name in dict.fromkeys([*listed, *always])
            if (size := catalog.dimensions(name)) is not None
        ]

    async def listed(self, patience: float) -> None:
        """See to it that the list is as good as it gets within `patience` seconds; never raises.

        A list that was fetched once is used as it is while a stale one is renewed in the background; a provider that
        failed a moment ago is not asked again.
        """
        if self.fresh or (self.error is not None and self._clock() - self._asked_at < RETRY_AFTER):
            return
        task = self.refresh()
        if self.cards is None:
            await asyncio.wait({task}, timeout=patience)

    def refresh(self) -> asyncio.Task[None]:
        """Fetch the list anew, or join the fetch under way. The task never fails: see `error`."""
        if self._fetching is None or self._fetching.done():
            self._fetching = asyncio.create_task(self._fetch(), name=f"list models of {self.config.name}")
        return self._fetching

    async def relisted(self) -> list[ModelCard]:
        """A list fetched now. Raises letta.errors.LettaError where that fails; `cards` are what they were then."""
        await asyncio.wait(
            {self.refresh()}
        )  # not awaited itself: a reader who leaves must not cancel the others' fetch
        if self.error is not None:
            raise self.error
        return list((self.cards or {}).values())

    async def check(self) -> None:
        """Try key and address by listing the models, and where that list is public, by a request that needs the key.

        Raises:
            InvalidRequest: no key was given where one is needed, or the client cannot be made.
            ModelError: what the provider answered.
        """
        if not self.config.api_key and self.kind.keys and self.official and not self.kind.local:
            raise InvalidRequest(f"api_key is empty: {self.config.name} needs a key.")
        await self.relisted()
        if self.kind.key_check and self.official:
            base_url = (self.config.base_url or self.kind.base_url or "").rstrip("/")
            key = self.config.api_key or ""
            endpoint = Endpoint(base_url, self.config.name, {"Authorization": f"Bearer {key}"}, secret=key)
            try:
                await endpoint.fetch(f"{base_url}/{self.kind.key_check}")
            finally:
                await endpoint.aclose()

    async def _fetch(self) -> None:
        try:
            async with asyncio.timeout(FETCH_TIMEOUT):
                # In a thread, because a provider's library may take seconds to import.
                cards = await (await asyncio.to_thread(self.client)).list_models()
        except TimeoutError:
            self._failed(ModelTimeout(f"{self.config.name} did not list its models within {FETCH_TIMEOUT:g} seconds."))
        except LettaError as error:
            self._failed(error)
        except Exception as error:  # provider libraries raise what they like, and one must not take the others along
            _log.exception("listing the models of %s failed", self.config.name)
            self._failed(ModelError(f"{self.config.name} could not list its models: {type(error).__name__}."))
        else:
            self.learn(cards)
            self.error = None
            self._asked_at = self._clock()

    def learn(self, cards: Iterable[ModelCard]) -> None:
        """Take this as the list of models; what was concluded from an earlier one is forgotten."""
        self.cards = {card.name: card for card in cards if card.name}
        self._resolved.clear()
        self._spellings.clear()
        self._models = None

    def _failed(self, error: LettaError) -> None:
        self.error = error
        self._asked_at = self._clock()
        _log.info("the models of %s cannot be listed: %s", self.config.name, error.message)

    async def aclose(self) -> None:
        """Close every connection; a list fetch under way is given up."""
        if self._fetching is not None and not self._fetching.done():
            self._fetching.cancel()
            await asyncio.wait({self._fetching})
        for client in await asyncio.to_thread(self._surrender):
            await client.aclose()

    def _surrender(self) -> list[Model]:
        """All clients, also one that a thread is just making."""
        with self._making:
            clients, self._clients = list(self._clients.values()), {}
            self._resolved.clear()
            return clients


def provider_type(word: str) -> ProviderType:
    """The wire's closed word for a provider; a provider it has no word for speaks OpenAI's protocol."""
    return ProviderType(word) if word in _PROVIDER_TYPES else ProviderType.OPENAI


def endpoint_type(word: str) -> ModelEndpointType:
    """The wire's closed word for a protocol, see `provider_type`."""
    return ModelEndpointType(word) if word in _ENDPOINT_TYPES else ModelEndpointType.OPENAI


def embedding_endpoint_type(word: str) -> EmbeddingEndpointType:
    """The wire's closed word for an embedding protocol, see `provider_type`."""
    return EmbeddingEndpointType(word) if word in _EMBEDDING_ENDPOINT_TYPES else EmbeddingEndpointType.OPENAI
