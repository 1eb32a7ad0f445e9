"""The kinds of providers, one row of a table each, and the client of a provider made by its row.

The one place that imports provider libraries: by name, on first use. Knows nothing of which providers there are, of
where keys are stored, or of the environment (see `letta.models.discovery`).
"""

import importlib
import re
from collections.abc import Callable, Mapping
from typing import Any, cast
from urllib.parse import urlsplit

from letta.errors import InvalidRequest
from letta.models.protocol import Model
from letta.models.provider import Kind, ProviderConfig

SCRIPTED = Kind("letta.models.scripted:ScriptedModel")
"""The built-in model, which answers for `letta/scripted` and needs no provider."""

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
        _OTHER,
        also=("vertex", "google-vertex"),
        arguments={"kind": "google-vertex"},
        takes=("project", "location"),
        needs="GOOGLE_CLOUD_PROJECT and GOOGLE_CLOUD_LOCATION",
    ),
    "azure": Kind(
        _OTHER,
        arguments={"kind": "azure", "api_version": "2024-10-21"},
        takes=("api_version",),
        needs="AZURE_API_KEY and AZURE_BASE_URL",
    ),
    "bedrock": Kind(
        _OTHER,
        also=("aws",),
        arguments={"kind": "bedrock"},
        takes=("region", "access_key", "session_token"),
        needs="AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION (or AWS_BEARER_TOKEN_BEDROCK and AWS_REGION)",
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

_CANONICAL = {spelling: name for name, kind in KINDS.items() for spelling in (name, *kind.also)}


def make(
    config: ProviderConfig, target: str, arguments: Mapping[str, Any], *, read_seconds: float | None = None
) -> Model:
    """Load `module:Class` and construct the client.

    Raises:
        InvalidRequest: the library is not installed, or the provider's settings do not fit its client.
    """
    base_url = config.base_url or kind_of(config).base_url
    common: dict[str, Any] = {"base_url": base_url, "api_key": config.api_key or None, "provider": kind_name(config)}
    if target in (_CHAT, _ANTHROPIC):
        common["read_seconds"] = read_seconds
    try:
        return cast(Model, load(target)(**common, **arguments))
    except ImportError as error:
        raise InvalidRequest(f"Provider {config.name} needs a package that is not installed: {error}.") from error


def load(target: str) -> Callable[..., Any]:
    """What `module:name` names, imported now."""
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


def canonical(prefix: str) -> str:
    """The row that handles with this first part mean, in any spelling; the word itself where there is none."""
    return _CANONICAL.get(prefix.lower(), prefix)
