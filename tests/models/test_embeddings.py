"""Embedding models behind handles, against a real HTTP server."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
from tests.embedding_server import EmbeddingServer, embedding_server

from letta.errors import InvalidRequest, ModelAuthentication, ModelServerError, ModelUnreachable, NotFound
from letta.models.embeddings import Embeddings, config_of
from letta.models.provider import ProviderConfig
from letta.models.registry import Registry


@asynccontextmanager
async def embeddings(server: EmbeddingServer, kind: str = "openai") -> AsyncIterator[Embeddings]:
    registry = Registry([ProviderConfig(name=kind, type=kind, base_url=server.url, api_key="k")])
    made = Embeddings(registry)
    try:
        yield made
    finally:
        await made.aclose()
        await registry.aclose()


async def test_vectors_come_in_the_order_of_the_texts_and_have_length_one() -> None:
    texts = ["red apples", "green pears", "red pears"]
    async with embedding_server() as server, embeddings(server) as found:
        made = await found.embedder("openai/some-model").embed(texts)
    expected = np.array([server.vector(text) for text in texts], np.float32)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(made, expected, atol=1e-6)
    assert made.dtype == np.float32
    assert server.asked == [texts]


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("openai", "/v1/embeddings"),
        ("ollama", "/v1/embeddings"),
        ("mistral", "/v1/embeddings"),
        ("google_ai", "/v1beta/openai/embeddings"),
        ("azure", "/openai/v1/embeddings"),
        ("cohere", "/compatibility/v1/embeddings"),
    ],
)
async def test_each_provider_is_asked_at_its_own_path(kind: str, path: str) -> None:
    async with embedding_server() as server, embeddings(server, kind) as found:
        await found.embedder(f"{kind}/some-model").embed(["text"])
    assert server.paths == [path]


async def test_query_is_embedded_once() -> None:
    async with embedding_server() as server, embeddings(server) as found:
        first = await found.query("openai/m", "red apples")
        again = await found.query("openai/m", "red apples")
    assert first is again
    assert len(server.asked) == 1


async def test_refusals_and_lost_connections_are_errors_of_the_provider() -> None:
    async with embedding_server(down=401) as server, embeddings(server) as found:
        with pytest.raises(ModelAuthentication, match="out of order"):
            await found.embedder("openai/m").embed(["text"])
        server.url = "http://127.0.0.1:9"
        async with embeddings(server) as lost:
            with pytest.raises(ModelUnreachable):
                await lost.embedder("openai/m").embed(["text"])


@pytest.mark.parametrize(
    "vectors", [[[1.0]], [[1.0], [1.0, 2.0]], [[1.0], [0.0]], [[], []], [[1.0], None], [["a"], ["b"]], [[1e400], [1.0]]]
)
async def test_senseless_vectors_are_refused(vectors: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    async with embedding_server() as server, embeddings(server) as found:
        answer = {"data": [{"index": number, "embedding": vector} for number, vector in enumerate(vectors)]}
        monkeypatch.setattr(server, "answer", lambda path, body: (200, answer))
        with pytest.raises(ModelServerError):
            await found.embedder("openai/m").embed(["one", "two"])


async def test_vectors_of_a_length_the_model_does_not_make_are_refused() -> None:
    async with embedding_server(dimension=5) as server, embeddings(server) as found:
        with pytest.raises(ModelServerError, match="text-embedding-3-small answered with vectors of 5 numbers"):
            await found.embedder("openai/text-embedding-3-small").embed(["one"])
        # A name that only begins like a known one may be that of a model with vectors of its own length.
        assert (await found.embedder("openai/bge-small-zh").embed(["one"])).shape == (1, 5)
        server.dimension = 1536
        assert (await found.embedder("openai/text-embedding-3-small").embed(["one"])).shape == (1, 1536)


async def test_handles_that_cannot_be_used_say_why() -> None:
    async with embedding_server() as server, embeddings(server, "anthropic") as found:
        for handle, error, text in (
            ("nonsense", InvalidRequest, "not of the form provider/model"),
            ("nobody/model", NotFound, "no provider called 'nobody'"),
            ("anthropic/model", InvalidRequest, "offers no embeddings"),
            ("letta/all-MiniLM-L6-v2", NotFound, "weights"),
        ):
            with pytest.raises(error, match=text):
                found.embedder(handle)


def test_long_form_of_a_handle_knows_the_length_of_its_vectors() -> None:
    known, local, unknown = (
        config_of(handle)
        for handle in ("openai/text-embedding-3-large", "letta/all-MiniLM-L6-v2", "ollama/my-own-model")
    )
    assert known is not None
    assert local is not None
    assert unknown is not None
    assert (known.embedding_dim, known.embedding_model) == (3072, "text-embedding-3-large")
    assert (local.embedding_dim, local.handle) == (384, "letta/all-MiniLM-L6-v2")
    assert (unknown.embedding_dim, unknown.embedding_endpoint_type) == (1536, "ollama")
    assert config_of(None) is None
