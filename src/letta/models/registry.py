"""Handles to models: which providers there are, what each offers, and the client that answers for `provider/model`.

Holds the one table of provider kinds, and is the one place that imports provider libraries: by name, on first use.
Knows nothing of agents, of where keys are stored, or of the environment (see `letta.models.discovery`).
"""

import asyncio
import importlib
import logging
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlsplit

from letta.errors import InvalidRequest, NotFound
from letta.models import catalog
from letta.models.protocol import Model, ModelCard
from letta.models.provider import Kind, Provider, ProviderConfig, Resolved
from letta.schemas.models import EmbeddingModel
from letta.schemas.models import Model as ListedModel

_log = logging.getLogger(__name__)

__all__ = [
    "KINDS",
    "SCRIPTED_HANDLE",
    "Kind",
    "ProviderConfig",
    "ProviderStatus",
    "Registry",
    "Resolved",
    "make",
    "validate",
]

SCRIPTED_HANDLE = "letta/scripted"
PATIENCE = 5.0
"""Seconds a reader of the model list waits for providers that were never listed."""
RETIRE_AFTER = 900.0
"""Seconds a replaced provider's client stays open for the calls that still run on it."""
LONGEST_HANDLE = 256
"""Characters of a handle."""
MOST_STAND_INS = 1_000
"""Handles the built-in model stands in for that are kept ready."""
MOST_NAMED = 20
"""Handles named in an error message."""

_SCRIPTED = Kind("letta.models.scripted:ScriptedModel")
_SCRIPTED_CARD = ModelCard("scripted", context_window=128_000, display_name="Scripted (rule-based, built in)")
_CHAT = "letta.models.openai_chat:OpenAIChat"
_ANTHROPIC = "letta.models.anthropic:Anthropic"
_OTHER = "letta.models.pydantic_ai:PydanticAIModel"

# OpenAI takes tools together with reasoning only through its Responses API, and some models not through chat at all.
_RESPONSES = (re.compile(r"^(?:ft:)?(?:gpt-5(?!.*chat)|gpt-(?:[6-9]|\d\d))|^codex|-pro(?:-|$)|deep-research"), _OTHER)


def _chat(base_url: str | None, *keys: str, **more: Any) -> Kind:
    return Kind(_CHAT, base_url=base_url, keys=keys, **more)


def _local(*urls: str, **more: Any) -> Kind:
    return Kind(_CHAT, urls=urls, optional_key=True, local=True, **more)


KINDS: Mapping[str, Kind] = {
    "openai": _chat(
        "https://api.openai.com/v1",
        "OPENAI_API_KEY",
        urls=("OPENAI_BASE_URL", "OPENAI_API_BASE"),
        also=("openai-proxy",),
        optional_key=True,
        exact=True,
        routes=((*_RESPONSES, {"kind": "openai-responses"}),),
        embeddings=("text-embedding-3-small", "text-embedding-3-large", "text-embedding-ada-002"),
    ),
    "anthropic": Kind(
        _ANTHROPIC,
        base_url="https://api.anthropic.com",
        keys=("ANTHROPIC_API_KEY",),
        urls=("ANTHROPIC_BASE_URL",),
        exact=True,
    ),
    "google_ai": Kind(
        _OTHER,
        base_url="https://generativelanguage.googleapis.com",
        keys=("GEMINI_API_KEY", "GOOGLE_API_KEY"),
        urls=("GEMINI_BASE_URL",),
        also=("google", "gemini"),
        arguments={"kind": "google"},
        exact=True,
        embeddings=("gemini-embedding-001",),
    ),
    "google_vertex": Kind(
        _OTHER, also=("vertex", "google-vertex"), arguments={"kind": "google-vertex"}, takes=("project", "location")
    ),
    "azure": Kind(_OTHER, arguments={"kind": "azure", "api_version": "2024-10-21"}, takes=("api_version",)),
    "bedrock": Kind(
        _OTHER, also=("aws",), arguments={"kind": "bedrock"}, takes=("region", "access_key", "session_token")
    ),
    "cohere": Kind(_OTHER, keys=("COHERE_API_KEY", "CO_API_KEY"), arguments={"kind": "cohere"}),
    "ollama": _local("OLLAMA_BASE_URL", "OLLAMA_HOST", keys=("OLLAMA_API_KEY",)),
    "lmstudio_openai": _local(
        "LMSTUDIO_BASE_URL", also=("lmstudio", "lm-studio"), endpoint_type="lmstudio-chatcompletions"
    ),
    "vllm": _local("VLLM_API_BASE", "VLLM_BASE_URL", keys=("VLLM_API_KEY",)),
    "sglang": _local("SGLANG_BASE_URL", "SGLANG_API_BASE"),
    "llamacpp": _local("LLAMACPP_BASE_URL", also=("llama.cpp", "llama-cpp")),
    "openrouter": _chat("https://openrouter.ai/api/v1", "OPENROUTER_API_KEY", key_check="key"),
    "groq": _chat("https://api.groq.com/openai/v1", "GROQ_API_KEY", exact=True),
    "together": _chat("https://api.together.xyz/v1", "TOGETHER_API_KEY", "TOGETHERAI_API_KEY"),
    "deepseek": _chat("https://api.deepseek.com/v1", "DEEPSEEK_API_KEY", exact=True),
    "xai": _chat("https://api.x.ai/v1", "XAI_API_KEY", also=("x-ai", "grok"), exact=True),
    "mistral": _chat("https://api.mistral.ai/v1", "MISTRAL_API_KEY", exact=True),
    "fireworks": _chat("https://api.fireworks.ai/inference/v1", "FIREWORKS_API_KEY"),
    "cerebras": _chat("https://api.cerebras.ai/v1", "CEREBRAS_API_KEY", exact=True),
    "moonshot": _chat("https://api.moonshot.ai/v1", "MOONSHOT_API_KEY", "MOONSHOTAI_API_KEY"),
    "moonshot_coding": _chat("https://api.kimi.com/coding/v1"),
    "minimax": _chat("https://api.minimax.io/v1", "MINIMAX_API_KEY"),
    "zai": _chat("https://api.z.ai/api/paas/v4", "ZAI_API_KEY", also=("z-ai",)),
    "zai_coding": _chat("https://api.z.ai/api/coding/paas/v4"),
    "baseten": _chat("https://inference.baseten.co/v1", "BASETEN_API_KEY"),
    "hugging-face": _chat("https://router.huggingface.co/v1", "HUGGINGFACE_API_KEY", also=("huggingface",)),
    "nvidia": _chat("https://integrate.api.nvidia.com/v1", "NVIDIA_API_KEY"),
    "sambanova": _chat("https://api.sambanova.ai/v1", "SAMBANOVA_API_KEY"),
    "nebius": _chat("https://api.studio.nebius.com/v1", "NEBIUS_API_KEY"),
    "deepinfra": _chat("https://api.deepinfra.com/v1/openai", "DEEPINFRA_API_KEY"),
    "alibaba": _chat("https://dashscope-intl.aliyuncs.com/compatible-mode/v1", "DASHSCOPE_API_KEY", "ALIBABA_API_KEY"),
}
"""Every kind of provider. An OpenAI-compatible one is one line; the key is also the first part of its handles."""

_NEEDS = {
    "azure": "AZURE_API_KEY and AZURE_BASE_URL",
    "bedrock": "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION (or AWS_BEARER_TOKEN_BEDROCK and AWS_REGION)",
    "google_vertex": "GOOGLE_CLOUD_PROJECT and GOOGLE_CLOUD_LOCATION",
}
_CANONICAL = {spelling: name for name, kind in KINDS.items() for spelling in (name, *kind.also)}


def make(
    config: ProviderConfig, target: str, arguments: Mapping[str, Any], *, read_seconds: float | None = None
) -> Model:
    """Load `module:Class` and construct the client: the one place where provider libraries are imported.

    Raises:
        InvalidRequest: the library is not installed, or the provider's settings do not fit its client.
    """
    base_url = config.base_url or kind_of(config).base_url
    common: dict[str, Any] = {"base_url": base_url, "api_key": config.api_key or None, "provider": kind_name(config)}
    if target in (_CHAT, _ANTHROPIC):
        common["read_seconds"] = read_seconds
    try:
        return cast(Model, _load(target)(**common, **arguments))
    except ImportError as error:
        raise InvalidRequest(f"Provider {config.name} needs a package that is not installed: {error}.") from error


def _load(target: str) -> Callable[..., Any]:
    module, _, name = target.partition(":")
    return cast(Callable[..., Any], getattr(importlib.import_module(module), name))


def validate(config: ProviderConfig) -> None:
    """See whether a config can be used at all, before it is stored; nobody is asked.

    Raises:
        InvalidRequest: the kind of provider is unknown, or `base_url` is malformed.
    """
    kind_of(config)
    try:
        _ = urlsplit(config.base_url or "").port
    except ValueError as error:
        raise InvalidRequest(f"base_url of provider {config.name} is not a URL: {error}.") from error


def kind_of(config: ProviderConfig) -> Kind:
    """The table's row of a provider.

    Raises:
        InvalidRequest: there is no such kind of provider.
    """
    if (kind := KINDS.get(kind_name(config))) is None:
        word = config.kind or config.type
        raise InvalidRequest(f"provider_type {word!r} cannot be used here, must be one of {sorted(KINDS)}.")
    return kind


def kind_name(config: ProviderConfig) -> str:
    """The name of the table's row of a provider: also the usual first part of its handles."""
    word = config.kind or config.type
    return _CANONICAL.get(word, word)


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
        self._scripted_model = scripted
        self._scripted_handles = scripted_handles
        self._default = default
        self._patience = patience
        self._read_seconds = read_seconds
        self._clock = clock
        self._base: dict[str, Provider] = {}
        self._byok: dict[str, Provider] = {}
        self._stand_ins: dict[str, Resolved] = {}
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
        if self._scripted_model is not None:
            await self._scripted_model.aclose()

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
            return self._scripted(prefix, name)
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
        for word in (name, name.lower(), _CANONICAL.get(name.lower(), name)):
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

    def _scripted(self, prefix: str, name: str) -> Resolved:
        """The built-in model, under the name of the one it stands in for."""
        handle = f"{prefix}/{name}"
        if (found := self._stand_ins.get(handle)) is None:
            config = ProviderConfig(name=prefix, type=_CANONICAL.get(prefix.lower(), prefix))
            stand_in = Provider(config, _SCRIPTED, self._make_scripted)
            if handle == SCRIPTED_HANDLE:
                stand_in.learn([_SCRIPTED_CARD])
            elif catalog.known(name) is None:
                # Where nobody knows the model's window, the built-in model's own is the honest one.
                stand_in.learn([ModelCard(name, context_window=_SCRIPTED_CARD.context_window)])
            if len(self._stand_ins) >= MOST_STAND_INS:
                self._stand_ins.clear()
            found = self._stand_ins[handle] = stand_in.resolve(name)
        return found

    def _make_scripted(self, config: ProviderConfig, target: str, arguments: Mapping[str, Any]) -> Model:
        if self._scripted_model is None:
            self._scripted_model = cast(Model, _load(target)(**arguments))
        return self._scripted_model


def _named(handles: Sequence[str]) -> str:
    """The options of an error message, cut to a length a person reads."""
    more = len(handles) - MOST_NAMED
    return f"{list(handles[:MOST_NAMED])}" + (f" and {more} more (GET /v1/models)" if more > 0 else "")


def _advice(prefix: str) -> str:
    """What to set on the server so that handles with this first part work."""
    name = _CANONICAL.get(prefix.lower(), prefix)
    if name == "letta":
        return f"The only model of that name here is {SCRIPTED_HANDLE}."
    if (kind := KINDS.get(name)) is None:
        return f"No provider is called {prefix}: add one through the API, or set one of {list(KINDS)} up on the server."
    variables = _NEEDS.get(name) or " or ".join([*kind.keys, *kind.urls] if not kind.local else kind.urls)
    if not variables:
        return f"Add a provider of type {name} through the API to use {prefix} models."
    return (
        f"To use {prefix} models set {variables} in the server's environment and restart it, or add the provider "
        "through the API; LETTA_SCRIPTED_MODELS=1 answers every handle with the built-in model."
    )
