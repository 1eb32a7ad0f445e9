"""Embeddings over HTTP: OpenAI's protocol, which nearly every provider speaks at some address of its own.

Knows how to ask and what the answer looks like, not what the texts are.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from letta.errors import InvalidRequest, ModelServerError
from letta.models import encoding, openai_quirks
from letta.models.http import Endpoint
from letta.models.kinds import kind_name, kind_of
from letta.models.provider import ProviderConfig

READ_SECONDS = 120.0
"""How long a provider may be silent over a batch of texts: a local server may have to load the model first."""

# Where makers with a protocol of their own speak OpenAI's: appended to the provider's address.
_COMPATIBLE: Mapping[str, str] = MappingProxyType(
    {"google_ai": "/v1beta/openai", "azure": "/openai/v1", "cohere": "/compatibility/v1"}
)
_ADDRESSES: Mapping[str, str] = MappingProxyType({"cohere": "https://api.cohere.ai"})
_CANNOT = frozenset({"anthropic", "bedrock", "google_vertex"})


class Client:
    """One provider's address for embeddings."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    async def embed(self, model: str, texts: list[str], *, query: bool) -> list[list[float]]:
        """The vectors the provider answers with, in the order of the texts, as they come.

        Raises:
            letta.errors.ModelError: its leaves, for a refusal, a failure, no connection or a senseless answer.
        """
        body = encoding.dumps({"model": model, "input": texts})
        async with self._endpoint.post("/embeddings", body) as answer:
            found = await answer.json()
        return _vectors(found, self._endpoint.provider)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._endpoint.aclose()


def client_for(config: ProviderConfig) -> Client:
    """The client of a configured provider.

    Raises:
        letta.errors.InvalidRequest: the provider has no embeddings that this server can ask for.
    """
    name = kind_name(config)
    if name in _CANNOT:
        raise InvalidRequest(f"embedding: {config.name} offers no embeddings this server can use")
    base = config.base_url or _ADDRESSES.get(name) or kind_of(config).base_url
    if not base:
        raise InvalidRequest(f"embedding: provider {config.name} has no base_url")
    base = base.rstrip("/") + _COMPATIBLE[name] if name in _COMPATIBLE else openai_quirks.base_url(base)
    headers = {"Authorization": f"Bearer {config.api_key}"} if config.api_key else {}
    if name == "azure" and config.api_key:
        headers = {"api-key": config.api_key}
    return Client(Endpoint(base, config.name, headers, secret=config.api_key, read_seconds=READ_SECONDS))


def _vectors(answer: Any, provider: str) -> list[list[float]]:
    try:
        rows = sorted(answer["data"], key=lambda row: row.get("index", 0))
        return [row["embedding"] for row in rows]
    except (KeyError, TypeError, AttributeError) as error:
        raise ModelServerError(f"{provider} answered without embeddings") from error
