"""Which models a provider offers: asked where it has an endpoint for that, else a short list of known ones.

The lists name what is generally available; any other name of the provider works as well.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from letta.models.http import Endpoint
from letta.models.protocol import ModelCard

_VERTEX = ("gemini-2.5-pro", "gemini-2.5-flash", "gemini-2.5-flash-lite")
_BEDROCK = (
    "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
    "us.anthropic.claude-haiku-4-5-20251001-v1:0",
    "us.amazon.nova-pro-v1:0",
    "us.amazon.nova-lite-v1:0",
    "us.meta.llama3-3-70b-instruct-v1:0",
)
_DEPLOYMENTS_VERSION = "2023-03-15-preview"
_MOST_PAGES = 20


async def cards(kind: str, base_url: str | None, api_key: str | None) -> list[ModelCard]:
    """The models of a provider. Raises letta.errors.ModelError."""
    if kind not in _ASKED:
        return [ModelCard(name) for name in _KNOWN.get(kind, ())]
    default, header, listed = _ASKED[kind]
    endpoint = Endpoint((base_url or default).rstrip("/"), kind, header(api_key or ""), secret=api_key)
    try:
        return await listed(endpoint)
    finally:
        await endpoint.aclose()


async def _openai(endpoint: Endpoint) -> list[ModelCard]:
    answer = await endpoint.fetch(f"{endpoint.base_url}/models")
    return [ModelCard(item["id"]) for item in _items(answer, "data") if "id" in item]


async def _google(endpoint: Endpoint) -> list[ModelCard]:
    found: list[ModelCard] = []
    page = ""
    for _ in range(_MOST_PAGES):
        answer = await endpoint.fetch(f"{endpoint.base_url}/v1beta/models?pageSize=1000{page}")
        found += [
            ModelCard(
                str(item["name"]).removeprefix("models/"),
                context_window=item.get("inputTokenLimit"),
                max_output_tokens=item.get("outputTokenLimit"),
                display_name=item.get("displayName"),
            )
            for item in _items(answer, "models")
            if "name" in item and "generateContent" in item.get("supportedGenerationMethods", ())
        ]
        token = answer.get("nextPageToken") if isinstance(answer, dict) else None
        if not token:
            break
        page = f"&pageToken={token}"
    return found


async def _azure(endpoint: Endpoint) -> list[ModelCard]:
    """Deployments: on Azure a model is called by the name it was deployed under."""
    root = endpoint.base_url.partition("/openai")[0]
    answer = await endpoint.fetch(f"{root}/openai/deployments?api-version={_DEPLOYMENTS_VERSION}")
    return [
        ModelCard(item["id"], display_name=f"{item['id']} ({item['model']})" if item.get("model") else None)
        for item in _items(answer, "data")
        if "id" in item
    ]


async def _mistral(endpoint: Endpoint) -> list[ModelCard]:
    answer = await endpoint.fetch(f"{endpoint.base_url.removesuffix('/v1')}/v1/models")
    return [
        ModelCard(item["id"], context_window=item.get("max_context_length"))
        for item in _items(answer, "data")
        if (item.get("capabilities") or {}).get("completion_chat", True) and "id" in item
    ]


async def _cohere(endpoint: Endpoint) -> list[ModelCard]:
    answer = await endpoint.fetch(f"{endpoint.base_url}/v1/models?endpoint=chat&page_size=1000")
    return [
        ModelCard(item["name"], context_window=int(item["context_length"]) if item.get("context_length") else None)
        for item in _items(answer, "models")
        if "name" in item
    ]


def _items(answer: Any, key: str) -> list[dict[str, Any]]:
    rows = answer.get(key) if isinstance(answer, dict) else answer
    return [row for row in rows or () if isinstance(row, dict)]


def _bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"} if key else {}


def _named(header: str) -> Callable[[str], dict[str, str]]:
    return lambda key: {header: key}


_Asked = tuple[str, Callable[[str], dict[str, str]], Callable[[Endpoint], Awaitable[list[ModelCard]]]]
_ASKED: Mapping[str, _Asked] = {
    "openai-responses": ("https://api.openai.com/v1", _bearer, _openai),
    "azure": ("", _named("api-key"), _azure),
    "azure-responses": ("", _named("api-key"), _azure),
    "google": ("https://generativelanguage.googleapis.com", _named("x-goog-api-key"), _google),
    "mistral": ("https://api.mistral.ai", _bearer, _mistral),
    "cohere": ("https://api.cohere.com", _bearer, _cohere),
}
_KNOWN = {"google-vertex": _VERTEX, "bedrock": _BEDROCK}
