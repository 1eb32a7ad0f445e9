"""`/v1/providers`, against model servers on this machine."""

import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.models.registry_server import ModelServer, model_server
from tests.serving import Served, serve

from letta.models.discovery import from_environment
from letta.store import providers

UNKNOWN = "provider-00000000-0000-4000-8000-000000000000"
KEY = "sk-very-secret-key-of-mine"


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    """A server that tells handles apart, with no provider at first."""
    async with serve(tmp_path, scripted_models=False) as running:
        yield running


@pytest.fixture
async def upstream() -> AsyncIterator[ModelServer]:
    async with model_server("model-a", "model-b") as running:
        yield running


def form(upstream: ModelServer, **fields: Any) -> dict[str, Any]:
    given = {"name": "mine", "provider_type": "openai", "base_url": f"{upstream.url}/v1", "api_key": KEY}
    return {**given, **fields}


async def made(served: Served, upstream: ModelServer, **fields: Any) -> dict[str, Any]:
    answer = await served.http.post("/v1/providers/", json=form(upstream, **fields))
    assert answer.status_code == 200, answer.text
    provider: dict[str, Any] = answer.json()
    return provider


async def handles(served: Served, **params: Any) -> list[str]:
    return [model["handle"] for model in (await served.http.get("/v1/models/", params=params)).json()]


async def test_a_provider_is_created_and_its_models_can_be_used_at_once(served: Served, upstream: ModelServer) -> None:
    provider = await made(served, upstream)
    assert provider == {
        "id": provider["id"], "name": "mine", "provider_type": "openai", "provider_category": "byok",
        "base_url": f"{upstream.url}/v1", "region": None, "api_version": None, "api_key": None, "access_key": None,
        "created_at": provider["created_at"], "updated_at": provider["created_at"], "last_synced": None,
    }  # fmt: skip
    assert await handles(served, provider_name="mine") == ["mine/model-a", "mine/model-b"]
    assert await handles(served, provider_category="byok") == ["mine/model-a", "mine/model-b"]
    assert upstream.seen[-1].headers["authorization"] == f"Bearer {KEY}"
    agent = await served.agent(model="mine/model-b")
    assert (agent["llm_config"]["provider_name"], agent["llm_config"]["provider_category"]) == ("mine", "byok")


async def test_the_key_is_in_no_answer(served: Served, upstream: ModelServer) -> None:
    address = upstream.url.replace("//", "//u:pass@")
    answers = [await served.http.post("/v1/providers/", json=form(upstream, access_key="more", base_url=address))]
    path = f"/v1/providers/{answers[0].json()['id']}"
    answers += [
        await served.http.get("/v1/providers/"),
        await served.http.get(path),
        await served.http.patch(path, json={"api_key": KEY}),
        await served.http.patch(f"{path}/refresh"),
        await served.http.post(f"{path}/check"),
        await served.http.get("/v1/models/"),
        await served.http.post("/v1/providers/", json=form(upstream)),
        await served.http.delete(path),
    ]
    assert [answer.status_code for answer in answers] == [200] * 7 + [409, 200]
    for secret in (KEY, "more", "u:pass"):
        assert not [str(answer.url) for answer in answers if secret in answer.text]


async def test_the_key_is_locked_in_the_database(tmp_path: Path, upstream: ModelServer) -> None:
    async with serve(tmp_path, scripted_models=False) as served:
        provider = await made(served, upstream, access_key="access-secret")
    stored = database_bytes(tmp_path)
    assert provider["id"].encode() in stored
    assert KEY.encode() not in stored
    assert b"access-secret" not in stored


def database_bytes(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.glob("letta.db*"))


async def test_a_changed_key_is_used_from_then_on_and_what_is_not_sent_stays(
    served: Served, upstream: ModelServer
) -> None:
    provider = await made(served, upstream, region="eu")
    path = f"/v1/providers/{provider['id']}"
    changed = (await served.http.patch(path, json={"api_key": "sk-new"})).json()
    assert changed == {**provider, "updated_at": changed["updated_at"]}
    await served.http.patch(f"{path}/refresh")
    assert upstream.seen[-1].headers["authorization"] == "Bearer sk-new"
    cleared = (await served.http.patch(path, json={"region": None})).json()
    assert (cleared["region"], cleared["base_url"]) == (None, provider["base_url"])
    await served.http.patch(f"{path}/refresh")
    assert upstream.seen[-1].headers["authorization"] == "Bearer sk-new"


async def test_a_refresh_lists_the_models_anew_and_is_remembered(served: Served, upstream: ModelServer) -> None:
    provider = await made(served, upstream)
    assert await handles(served, provider_name="mine") == ["mine/model-a", "mine/model-b"]
    upstream.list("model-c")
    refreshed = (await served.http.patch(f"/v1/providers/{provider['id']}/refresh")).json()
    assert refreshed["last_synced"] is not None
    assert refreshed == {**provider, "last_synced": refreshed["last_synced"]}
    assert await handles(served, provider_name="mine") == ["mine/model-c"]


async def test_a_deleted_provider_takes_its_models_along(served: Served, upstream: ModelServer) -> None:
    provider = await made(served, upstream)
    answer = await served.http.delete(f"/v1/providers/{provider['id']}")
    assert (answer.status_code, answer.json()) == (200, {"message": f"Provider {provider['id']} deleted"})
    assert await handles(served) == ["letta/scripted"]
    assert (await served.http.get(f"/v1/providers/{provider['id']}")).status_code == 404


async def test_a_check_says_what_the_provider_answers(served: Served, upstream: ModelServer) -> None:
    body = form(upstream)
    good = await served.http.post("/v1/providers/check", json=body)
    assert (good.status_code, good.json()) == (
        200,
        {"message": "Provider openai (openai) answers and lists its models"},
    )
    provider = await made(served, upstream)
    upstream.answers["/v1/models"] = (401, {"error": {"message": "bad key"}})
    for path in ("check", f"{provider['id']}/check"):
        bad = await served.http.post(f"/v1/providers/{path}", json=body)
        assert (bad.status_code, bad.json()["error"]["type"]) == (401, "llm_authentication")
    assert len((await served.http.get("/v1/providers/")).json()) == 1


async def test_a_provider_of_the_environment_is_listed_and_cannot_be_changed(
    served: Served, upstream: ModelServer
) -> None:
    added = await made(served, upstream)
    found, _ = from_environment({"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": f"{upstream.url}/v1"})
    served.parts.registry.add(found)
    listed = (await served.http.get("/v1/providers/")).json()
    base = {
        "id": found[0].id, "name": "openai", "provider_type": "openai", "provider_category": "base",
        "base_url": f"{upstream.url}/v1", "region": None, "api_version": None, "api_key": None, "access_key": None,
        "created_at": None, "updated_at": None, "last_synced": None,
    }  # fmt: skip
    assert listed == [added, base]
    path = f"/v1/providers/{found[0].id}"
    assert (await served.http.get(path)).json() == base
    assert (await served.http.patch(f"{path}/refresh")).json() == base
    assert (await served.http.post(f"{path}/check")).status_code == 200
    for answer in (await served.http.patch(path, json={"api_key": "x"}), await served.http.delete(path)):
        assert answer.status_code == 400
        assert "OPENAI_API_KEY or OPENAI_BASE_URL or OPENAI_API_BASE" in answer.json()["detail"]


async def test_providers_are_listed_newest_first_in_pages_and_by_filters(served: Served, upstream: ModelServer) -> None:
    one, two, three = [await made(served, upstream, name=name) for name in ("one", "two", "three")]
    cases: list[tuple[dict[str, Any], list[dict[str, Any]]]] = [
        ({}, [three, two, one]),
        ({"order": "asc"}, [one, two, three]),
        ({"limit": 2}, [three, two]),
        ({"limit": 2, "after": two["id"]}, [one]),
        ({"limit": 1, "before": one["id"]}, [two]),
        ({"name": "two"}, [two]),
        ({"name": "two", "after": three["id"]}, [two]),
        ({"provider_type": "anthropic"}, []),
    ]
    for params, expected in cases:
        assert (await served.http.get("/v1/providers/", params=params)).json() == expected, params


async def test_a_name_that_is_taken_is_a_conflict(served: Served, upstream: ModelServer) -> None:
    await made(served, upstream)
    answer = await served.http.post("/v1/providers/", json=form(upstream))
    assert (answer.status_code, answer.json()) == (
        409,
        {"detail": "name: there is a provider called 'mine' already"},
    )


@pytest.mark.parametrize(
    ("verb", "path", "body", "status", "detail"),
    [
        (
            "POST",
            "",
            {"name": "x", "provider_type": "unheard"},
            422,
            "provider_type: Input should be 'anthropic', 'azure'",
        ),
        (
            "POST",
            "",
            {"name": "x", "provider_type": "letta"},
            422,
            "'letta' is not supported here, must be one of ['anth",
        ),
        ("POST", "", {"name": "a/b", "provider_type": "openai"}, 422, "name: String should match pattern"),
        ("POST", "", {"name": "x", "provider_type": "ollama"}, 422, "base_url: ollama has no address of its own"),
        (
            "POST",
            "",
            {"name": "x", "provider_type": "openai", "base_url": "ftp://x"},
            422,
            "base_url: must be an address",
        ),
        ("POST", "", {"name": "x", "provider_type": "vllm", "base_url": "http://x:99999"}, 422, "base_url: must be an"),
        ("POST", "/check", {"provider_type": "letta"}, 422, "provider_type: 'letta' is not supported here"),
        ("POST", "/check", {"provider_type": "openai"}, 400, "api_key is empty"),
        ("GET", f"/{UNKNOWN}", None, 404, f"provider {UNKNOWN} not found"),
        ("PATCH", f"/{UNKNOWN}", {"region": "eu"}, 404, f"provider {UNKNOWN} not found"),
        ("DELETE", f"/{UNKNOWN}", None, 404, f"provider {UNKNOWN} not found"),
        ("POST", f"/{UNKNOWN}/check", None, 404, f"provider {UNKNOWN} not found"),
        ("PATCH", f"/{UNKNOWN}/refresh", None, 404, f"provider {UNKNOWN} not found"),
        ("GET", f"?after={UNKNOWN}", None, 404, f"cursor '{UNKNOWN}' not found"),
        ("GET", "/provider-1", None, 422, "provider_id: String should match pattern"),
    ],
)
async def test_a_bad_request_is_told_what_is_wrong(
    served: Served, verb: str, path: str, body: dict[str, Any] | None, status: int, detail: str
) -> None:
    answer = await served.http.request(verb, f"/v1/providers{path}", json=body)
    assert (answer.status_code, detail in answer.json()["detail"]) == (status, True), answer.text
    assert (await served.http.get("/v1/providers/")).json() == []


async def test_added_providers_are_in_use_again_after_a_restart(tmp_path: Path, upstream: ModelServer) -> None:
    async with serve(tmp_path, scripted_models=False) as first:
        await made(first, upstream)
    async with serve(tmp_path, scripted_models=False) as second:
        assert await handles(second, provider_name="mine") == ["mine/model-a", "mine/model-b"]
        assert upstream.seen[-1].headers["authorization"] == f"Bearer {KEY}"


async def test_a_key_locked_with_another_encryption_key_does_not_keep_the_server_from_starting(
    tmp_path: Path, upstream: ModelServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with serve(tmp_path, scripted_models=False, encryption_key="one") as first:
        provider = await made(first, upstream)
    with caplog.at_level(logging.ERROR):
        async with serve(tmp_path, scripted_models=False, encryption_key="two") as second:
            assert (await second.http.get("/v1/providers/")).json() == [provider]
            assert await handles(second) == ["letta/scripted"]
            check = await second.http.post(f"/v1/providers/{provider['id']}/check")
            assert (check.status_code, "LETTA_ENCRYPTION_KEY" in check.json()["detail"]) == (400, True)
            given = {"api_key": KEY, "access_key": None}
            assert (await second.http.patch(f"/v1/providers/{provider['id']}", json=given)).status_code == 200
            assert await handles(second, provider_name="mine") == ["mine/model-a", "mine/model-b"]
            [stored] = await second.parts.database.read(providers.list_all)
            assert second.parts.vault.open(stored.secrets) == {"api_key": KEY}
    assert "provider mine is not used: stored secrets cannot be read" in caplog.text
