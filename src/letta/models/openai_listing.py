"""Lists the models of an OpenAI-compatible server, with context windows from wherever the server tells them.

Knows the listing endpoints of local servers; knows nothing about model names.
"""

import asyncio
import re
from collections.abc import Iterable
from typing import Any

from letta.errors import ModelError
from letta.models import openai_quirks
from letta.models.http import Endpoint
from letta.models.openai_quirks import Quirks
from letta.models.protocol import ModelCard

# Field names of a context window, the one that holds for a loaded model first.
_WINDOW = (
    "loaded_context_length",  # LM Studio
    "max_model_len",  # vLLM, SGLang
    "context_window",  # Groq
    "context_length",  # OpenRouter, Together, Fireworks
    "max_context_length",  # Mistral, LM Studio
    "max_input_tokens",
)
_OUTPUT = ("max_completion_tokens", "max_output_tokens")
_NOT_LANGUAGE = {"image", "audio", "video", "moderation", "rerank", "transcribe"}


async def cards(endpoint: Endpoint, quirks: Quirks) -> list[ModelCard]:
    """What the server offers. Raises letta.errors.ModelError."""
    match quirks.listing:
        case "ollama":
            return await _ollama(endpoint)
        case "lmstudio":
            return await _lmstudio(endpoint)
        case "llamacpp":
            return await _llamacpp(endpoint)
    return _listed(await endpoint.fetch(endpoint.base_url + "/models"))


def _listed(answer: Any) -> list[ModelCard]:
    """Cards from a list, bare (Together) or under `data`, `models`."""
    found = answer if isinstance(answer, list) else answer.get("data") or answer.get("models") or []
    return [_card(item) for item in found if isinstance(item, dict) and item.get("type") not in _NOT_LANGUAGE]


def _card(item: dict[str, Any]) -> ModelCard:
    top = item.get("top_provider") or {}  # OpenRouter
    meta = item.get("meta") or {}  # llama.cpp
    return ModelCard(
        name=item.get("id") or item.get("key") or item.get("name") or "",
        context_window=_first(item, _WINDOW) or _first(top, _WINDOW) or _number(meta.get("n_ctx_train")),
        max_output_tokens=_first(item, _OUTPUT) or _first(top, _OUTPUT),
        display_name=item.get("display_name") or item.get("name"),
    )


def _first(item: dict[str, Any], names: Iterable[str]) -> int | None:
    return next((number for name in names if (number := _number(item.get(name)))), None)


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


async def _lmstudio(endpoint: Endpoint) -> list[ModelCard]:
    root = openai_quirks.root(endpoint.base_url)
    for path in ("/api/v0/models", "/api/v1/models"):
        try:
            answer = await endpoint.fetch(root + path)
        except ModelError:
            continue  # another version of the server; the plain list below always exists
        if isinstance(answer, dict) and (answer.get("data") or answer.get("models")):
            return [_loaded(item) for item in answer.get("data") or answer["models"]]
    return _listed(await endpoint.fetch(endpoint.base_url + "/models"))


def _loaded(item: dict[str, Any]) -> ModelCard:
    instances = item.get("loaded_instances") or []
    config = (instances[0].get("config") or {}) if instances else {}
    return _card({**item, "loaded_context_length": item.get("loaded_context_length") or config.get("context_length")})


async def _llamacpp(endpoint: Endpoint) -> list[ModelCard]:
    found = _listed(await endpoint.fetch(endpoint.base_url + "/models"))
    try:
        props = await endpoint.fetch(openai_quirks.root(endpoint.base_url) + "/props")
    except ModelError:
        return found  # the endpoint can be switched off
    window = _number((props.get("default_generation_settings") or {}).get("n_ctx"))
    return [ModelCard(card.name, window or card.context_window, card.max_output_tokens, card.name) for card in found]


async def _ollama(endpoint: Endpoint) -> list[ModelCard]:
    root = openai_quirks.root(endpoint.base_url)
    try:
        tags = await endpoint.fetch(root + "/api/tags")
    except ModelError:
        return _listed(await endpoint.fetch(endpoint.base_url + "/models"))
    found = [item.get("model") or item.get("name") for item in tags.get("models") or []]
    running = await _ollama_running(endpoint, root)
    return list(
        await asyncio.gather(*(_ollama_card(endpoint, root, name, running.get(name)) for name in found if name))
    )


async def _ollama_running(endpoint: Endpoint, root: str) -> dict[str, int | None]:
    """The windows of models in memory: what holds now, whatever a model could do."""
    try:
        answer = await endpoint.fetch(root + "/api/ps")
    except ModelError:
        return {}  # older servers do not have it
    return {item.get("name", ""): _number(item.get("context_length")) for item in answer.get("models") or []}


async def _ollama_card(endpoint: Endpoint, root: str, name: str, running: int | None) -> ModelCard:
    if running:
        return ModelCard(name, running, display_name=name)
    try:
        shown = await endpoint.fetch(root + "/api/show", body={"model": name})
    except ModelError:
        return ModelCard(name, display_name=name)
    chosen = re.search(r"^num_ctx\s+(\d+)", shown.get("parameters") or "", re.MULTILINE)
    info = shown.get("model_info") or {}
    trained = next((_number(value) for key, value in info.items() if key.endswith(".context_length")), None)
    return ModelCard(name, int(chosen[1]) if chosen else trained, display_name=name)
