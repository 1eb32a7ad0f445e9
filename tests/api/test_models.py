"""`/v1/models`."""

from pathlib import Path
from typing import Any

import pytest
from tests.models.registry_server import model_server
from tests.serving import Served, serve

from letta.models.provider import ProviderConfig

NAMES = ("gpt-4o", "text-embedding-3-small")


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, ["letta/scripted", "near/gpt-4o"]),
        ({"provider_name": "near"}, ["near/gpt-4o"]),
        ({"provider_type": "vllm"}, ["near/gpt-4o"]),
        ({"provider_category": ["base", "byok"]}, ["letta/scripted", "near/gpt-4o"]),
        ({"provider_category": "byok"}, []),
        ({"provider_name": "nobody"}, []),
    ],
)
async def test_models_are_listed_and_filtered(tmp_path: Path, params: dict[str, Any], expected: list[str]) -> None:
    async with model_server(*NAMES) as upstream, serve(tmp_path, scripted_models=False) as served:
        served.parts.registry.add([ProviderConfig("near", "vllm", upstream.url)])
        found = (await served.http.get("/v1/models/", params=params)).json()
        assert [model["handle"] for model in found] == expected


async def test_bypass_asks_the_providers_now(tmp_path: Path) -> None:
    async with model_server("old") as upstream, serve(tmp_path, scripted_models=False) as served:
        served.parts.registry.add([ProviderConfig("near", "vllm", upstream.url)])
        served.parts.registry.add([ProviderConfig("dead", "vllm", "http://127.0.0.1:9")])

        async def names(**params: Any) -> list[str]:
            answer = await served.http.get("/v1/models/", params={"provider_name": "near", **params})
            return [model["name"] for model in answer.json()]

        assert await names() == ["old"]
        upstream.list("new")
        assert await names() == ["old"]
        assert await names(bypass=True) == ["new"]


async def test_embedding_models_are_listed_under_both_names(tmp_path: Path) -> None:
    async with model_server(*NAMES) as upstream, serve(tmp_path, scripted_models=False) as served:
        served.parts.registry.add([ProviderConfig("near", "vllm", upstream.url)])
        for path in ("embedding", "embeddings"):
            found = (await served.http.get(f"/v1/models/{path}")).json()
            near = [(one["handle"], one["embedding_dim"]) for one in found if one["provider_name"] == "near"]
            assert near == [("near/text-embedding-3-small", 1536)]


@pytest.mark.parametrize(("name", "value"), [("provider_type", "unheard"), ("provider_category", "mine")])
async def test_an_unknown_word_in_a_filter_is_refused(served: Served, name: str, value: str) -> None:
    answer = await served.http.get("/v1/models/", params={name: value})
    assert (answer.status_code, name in answer.json()["detail"]) == (422, True)
