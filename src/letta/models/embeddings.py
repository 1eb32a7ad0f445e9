"""Handles to embedding models: `provider/model` in, unit vectors out. The local model needs no provider and no key.

Knows nothing of what is embedded or where vectors are kept.
"""

import asyncio
import importlib
import logging
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

from letta.errors import InvalidRequest, NotFound
from letta.models import catalog, minilm
from letta.models.embedding_clients import Client, client_for
from letta.models.provider import ProviderConfig, embedding_endpoint_type
from letta.models.registry import Registry
from letta.schemas.llm_config import EmbeddingConfig, EmbeddingEndpointType
from letta.schemas.models import EmbeddingModel
from letta.schemas.providers import ProviderType

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

log = logging.getLogger(__name__)

Vectors: TypeAlias = "NDArray[np.float32]"
QUERY_SECONDS = 5.0
"""How long a search waits for the vector of its query before it goes by words alone."""
UNKNOWN_DIMENSION = 1536
"""Shown for a model of which nobody says the length of its vectors; stored vectors have their true length."""
_KEPT_QUERIES = 512


class Embedder(Protocol):
    """One embedding model. `batch` is how many texts it likes at once."""

    @property
    def batch(self) -> int: ...

    async def embed(self, texts: Sequence[str], *, query: bool = False) -> Vectors:
        """Unit vectors, one row per text; `query` says that the text is a question, not a document.

        Raises:
            letta.errors.ModelError: the provider refuses, fails or cannot be reached.
        """
        ...


class Embeddings:
    """All embedding models of a server: those of its providers, and the local one where its weights are."""

    def __init__(self, registry: Registry, weights: Path | None = None) -> None:
        self._registry = registry
        self._local = None if weights is None else minilm.load(weights)
        self._clients: dict[str, tuple[ProviderConfig, Client]] = {}
        self._queries: OrderedDict[tuple[str, str], Vectors] = OrderedDict()

    @property
    def local_handle(self) -> str | None:
        """The handle of the local model, if it can be used."""
        return None if self._local is None else minilm.HANDLE

    def embedder(self, handle: str) -> Embedder:
        """The model of a handle, without asking anybody.

        Raises:
            letta.errors.InvalidRequest: not of the form `provider/model`, or the provider cannot embed.
            letta.errors.NotFound: no such provider here, or the local model's weights are missing.
        """
        if handle == minilm.HANDLE:
            if self._local is None:
                raise NotFound(f"the weights of {handle} were not found on this machine (see docs/memory.md)")
            return self._local
        prefix, slash, name = handle.partition("/")
        if not slash or not prefix or not name:
            raise InvalidRequest(f"embedding: {handle!r} is not of the form provider/model")
        config = self._registry.provider_config(prefix)
        if config is None:
            raise NotFound(f"embedding: no provider called {prefix!r} is configured for {handle}")
        return _Remote(self._client(config), name)

    def _client(self, config: ProviderConfig) -> Client:
        known = self._clients.get(config.name)
        if known is None or known[0] != config:
            known = self._clients[config.name] = (config, client_for(config))
        return known[1]

    async def query(self, handle: str, text: str) -> Vectors:
        """The unit vector of a search's text. Asked for again, it is remembered.

        Raises:
            letta.errors.LettaError: as `embedder` and `Embedder.embed`.
            TimeoutError: the provider took longer than a search should wait.
        """
        key = (handle, text)
        if (known := self._queries.get(key)) is not None:
            self._queries.move_to_end(key)
            return known
        async with asyncio.timeout(QUERY_SECONDS):
            vector: Vectors = (await self.embedder(handle).embed([text], query=True))[0]
        self._queries[key] = vector
        if len(self._queries) > _KEPT_QUERIES:
            self._queries.popitem(last=False)
        return vector

    async def models(self) -> list[EmbeddingModel]:
        """Every embedding model one can choose, the local one first."""
        local = [] if self._local is None else [_LOCAL]
        return [*local, *await self._registry.embeddings()]

    async def aclose(self) -> None:
        """Close the connections to providers."""
        for _, client in self._clients.values():
            await client.aclose()
        self._clients.clear()


class _Remote:
    """A provider's model: checks what comes back and makes it unit vectors."""

    batch = 64

    def __init__(self, client: Client, name: str) -> None:
        self._client = client
        self._name = name

    async def embed(self, texts: Sequence[str], *, query: bool = False) -> Vectors:
        rows = await self._client.embed(self._name, list(texts), query=query)
        return await asyncio.to_thread(_unit_vectors, rows, len(texts), self._name)


def _unit_vectors(rows: Sequence[Sequence[float]], count: int, model: str) -> Vectors:
    """See letta.models.unit_vectors. In a thread, because the first time loads numpy."""
    dimension = catalog.exact_dimensions(model)
    made: Vectors = importlib.import_module("letta.models.unit_vectors").unit_vectors(rows, count, model, dimension)
    return made


def config_of(handle: str | None) -> EmbeddingConfig | None:
    """A handle in the older long form.

    Raises:
        letta.errors.InvalidRequest: it is not of the form `provider/model`.
    """
    if handle is None:
        return None
    prefix, slash, name = handle.partition("/")
    if not slash or not name or not prefix:
        raise InvalidRequest(f"embedding: {handle!r} is not of the form provider/model")
    local = handle == minilm.HANDLE
    return EmbeddingConfig(
        embedding_model=name,
        embedding_endpoint_type=EmbeddingEndpointType.OPENAI if local else embedding_endpoint_type(prefix),
        embedding_dim=minilm.DIMENSION if local else catalog.dimensions(name) or UNKNOWN_DIMENSION,
        handle=handle,
    )


_LOCAL = EmbeddingModel(
    name="all-MiniLM-L6-v2",
    embedding_model="all-MiniLM-L6-v2",
    display_name="all-MiniLM-L6-v2 (on this machine)",
    handle=minilm.HANDLE,
    embedding_dim=minilm.DIMENSION,
    embedding_endpoint_type=EmbeddingEndpointType.OPENAI,
    provider_type=ProviderType.OPENAI,
    provider_name="letta",
)
