"""Handles, model lists and providers, against model servers on this machine."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from tests.models.registry_server import ModelServer, model_server

from letta.errors import InvalidRequest, ModelAuthentication, ModelError, NotFound
from letta.models.kinds import KINDS, validate
from letta.models.protocol import Model, ModelRequest, collect
from letta.models.provider import LIST_TTL, RETRY_AFTER, ProviderConfig
from letta.models.registry import ProviderStatus, Registry
from letta.models.scripted import ScriptedModel
from letta.schemas.messages import Message, TextPart

NOWHERE = "http://127.0.0.1:1"
HELLO = ModelRequest(
    model="scripted",
    system=("You are helpful.",),
    messages=[
        Message(
            id="message-1",
            role="user",
            parts=[TextPart(text="hello")],
            agent_id="agent-1",
            conversation_id="conv-1",
            created_at=datetime(2026, 1, 1, tzinfo=UTC),
        )
    ],
)


class Clock:
    """Seconds that pass when a test says so."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def local(name: str, url: str) -> ProviderConfig:
    return ProviderConfig(name=name, type="vllm", base_url=url)


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(20):
            await scenario()

    asyncio.run(limited())


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    while True:
        if await condition():
            return
        await asyncio.sleep(0.001)


async def handles(registry: Registry) -> list[str | None]:
    return [model.handle for model in await registry.models()]


@pytest.fixture
def official(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, ModelServer], ProviderConfig]:
    """Make a test server the maker's own address of a kind of provider."""

    def move(kind: str, server: ModelServer) -> ProviderConfig:
        monkeypatch.setitem(KINDS, kind, replace(KINDS[kind], base_url=server.url))
        return ProviderConfig(name=kind, type=kind, api_key="k3y")

    return move


# Resolving handles


def test_without_providers_the_built_in_model_answers_and_is_the_default() -> None:
    async def scenario() -> None:
        registry = Registry()
        resolved = registry.resolve(registry.default_handle())
        answer = await collect(resolved.model.stream(HELLO))
        assert (resolved.handle, resolved.name, resolved.provider) == ("letta/scripted", "scripted", "letta")
        assert (resolved.context_window, resolved.info.display_name) == (128_000, "Scripted (rule-based, built in)")
        assert answer.parts
        assert await handles(registry) == ["letta/scripted"]
        await registry.aclose()

    run(scenario)


def test_a_handle_of_an_unconfigured_provider_is_refused_with_the_way_to_configure_it() -> None:
    registry = Registry([local("box", NOWHERE)])
    with pytest.raises(NotFound) as refused:
        registry.resolve("openai/gpt-4o")
    assert refused.value.message == (
        "Handle openai/gpt-4o not found, must be one of ['letta/scripted']. To use openai models set OPENAI_API_KEY or "
        "OPENAI_BASE_URL or OPENAI_API_BASE in the server's environment and restart it, or add the provider through "
        "the API; LETTA_SCRIPTED_MODELS=1 answers every handle with the built-in model."
    )
    with pytest.raises(NotFound, match="No provider is called acme: add one through the API"):
        registry.resolve("acme/model")
    with pytest.raises(NotFound, match="AZURE_API_KEY and AZURE_BASE_URL"):
        registry.resolve("azure/gpt-4o")
    with pytest.raises(NotFound, match="only model of that name here is letta/scripted"):
        registry.resolve("letta/letta-free")


@pytest.mark.parametrize("handle", ["", "/", "box/", "/model", "box/a model", "  ", "box/a\x00b", "box/" + "x" * 300])
def test_a_malformed_handle_is_refused_with_the_right_form(handle: str) -> None:
    registry = Registry([local("box", NOWHERE), local("other", NOWHERE)])
    with pytest.raises(InvalidRequest, match="not of the form provider/model"):
        registry.resolve(handle)


def test_a_model_name_may_contain_slashes_and_colons() -> None:
    resolved = Registry([local("box", NOWHERE)]).resolve("box/meta-llama/Llama-3.3-70B:free")
    assert (resolved.provider, resolved.name, resolved.handle) == (
        "box",
        "meta-llama/Llama-3.3-70B:free",
        "box/meta-llama/Llama-3.3-70B:free",
    )


def test_a_local_server_takes_any_name_while_a_complete_list_is_final(
    official: Callable[[str, ModelServer], ProviderConfig],
) -> None:
    async def scenario() -> None:
        async with model_server("llama-3.3-70b-versatile", "grok-4-0709", "whisper-large-v3") as server:
            registry = Registry([official("groq", server), local("box", server.url)])
            assert registry.resolve("groq/anything").name == "anything"
            await registry.models()
            assert registry.resolve("box/anything").name == "anything"
            assert registry.resolve("groq/llama-3.3-70b-versatile").context_window == 131_072
            with pytest.raises(NotFound) as refused:
                registry.resolve("groq/anything")
            assert refused.value.message == (
                "Handle groq/anything not found, must be one of ['groq/llama-3.3-70b-versatile', 'groq/grok-4-0709']"
            )
            for spelling in ("grok-4", "grok-4-latest"):
                assert registry.resolve(f"groq/{spelling}").name == spelling
            await registry.aclose()

    run(scenario)


def test_a_name_missing_from_a_list_is_looked_for_in_a_new_list_before_it_is_refused(
    official: Callable[[str, ModelServer], ProviderConfig],
) -> None:
    async def scenario() -> None:
        async with model_server("old-model") as server:
            registry = Registry([official("groq", server)])
            await registry.models()
            server.list("old-model", "new-model")
            assert (await registry.find("groq/new-model")).name == "new-model"
            with pytest.raises(NotFound, match="must be one of"):
                await registry.find("groq/no-model")
            await registry.aclose()

    run(scenario)


def test_a_bare_name_means_the_provider_that_has_it_or_the_only_one() -> None:
    async def scenario() -> None:
        async with model_server("both", "only-a") as a, model_server("both", "only-b") as b:
            registry = Registry([local("a", a.url), local("b", b.url)])
            assert (await registry.find("only-b")).handle == "b/only-b"
            with pytest.raises(InvalidRequest, match=r"write one of \['a/both', 'b/both'\]"):
                registry.resolve("both")
            with pytest.raises(InvalidRequest, match=r"write one of \['letta/scripted', 'a/both', 'a/only-a'"):
                registry.resolve("neither")
            assert Registry([local("a", a.url)]).resolve("neither").handle == "a/neither"
            assert Registry(registry.providers(), default="b/both").resolve("neither").handle == "b/neither"
            await registry.aclose()

    run(scenario)


def test_openai_behind_another_address_keeps_its_handles_and_has_the_proxy_alias() -> None:
    async def scenario() -> None:
        async with model_server("gpt-4o", "text-embedding-3-small") as server:
            registry = Registry([ProviderConfig(name="openai", type="openai", base_url=f"{server.url}/v1/")])
            assert await handles(registry) == ["letta/scripted", "openai/gpt-4o", "openai-proxy/gpt-4o"]
            assert registry.resolve("openai-proxy/gpt-4o").handle == "openai/gpt-4o"
            assert registry.resolve("openai-proxy/gpt-4o").model is registry.resolve("openai/gpt-5.6").model
            assert [model.handle for model in await registry.embeddings()] == ["openai/text-embedding-3-small"]
            await registry.aclose()

    run(scenario)


@pytest.mark.parametrize("name", list(KINDS))
def test_every_kind_of_provider_makes_a_client_or_names_the_package_it_lacks(name: str) -> None:
    async def scenario() -> None:
        address = "http://127.0.0.1:1" if name == "azure" or KINDS[name].local else None
        parts = {"region": "eu-west-1", "access_key": "id", "project": "p", "location": "global", "unknown": "ignored"}
        registry = Registry([ProviderConfig(name, name, base_url=address, api_key="k3y", options=parts)])
        lacking = ""
        try:
            assert "k3y" not in repr(registry.resolve(f"{name}/a-model"))
        except InvalidRequest as error:
            lacking = error.message
        assert not lacking or 'pip install "open-letta[' in lacking
        await registry.aclose()

    run(scenario)


def test_openai_models_that_reason_with_tools_take_the_responses_protocol_at_openai_itself() -> None:
    patterns = [pattern for pattern, _, _ in KINDS["openai"].routes]
    names = ["gpt-4o", "o3-mini", "gpt-5-chat-latest", "gpt-oss-20b", "gpt-5.6-sol", "gpt-6.1-sol", "o3-pro", "gpt-5"]
    chosen = [name for name in names if any(pattern.search(name) for pattern in patterns)]
    assert chosen == ["gpt-5.6-sol", "gpt-6.1-sol", "o3-pro", "gpt-5"]


def test_scripted_handles_answer_every_well_formed_handle_with_the_windows_of_the_real_models() -> None:
    scripted = ScriptedModel(["one", "two"])
    registry = Registry(scripted=scripted, scripted_handles=True)
    known, unknown = registry.resolve("anthropic/claude-sonnet-4-5"), registry.resolve("acme/some-model")
    assert known.model is unknown.model is scripted
    assert (known.context_window, known.info.provider_type, known.info.model_endpoint_type) == (
        200_000,
        "anthropic",
        "anthropic",
    )
    assert (unknown.context_window, unknown.handle, unknown.info.provider_type) == (
        128_000,
        "acme/some-model",
        "openai",
    )
    assert registry.default_handle() == "letta/scripted"
    with pytest.raises(InvalidRequest):
        registry.resolve("acme/")


def test_a_missing_model_is_refused_naming_the_options_when_there_is_a_choice() -> None:
    async def scenario() -> None:
        async with model_server("a-model") as server:
            registry = Registry([local("box", server.url)])
            await registry.models()
            with pytest.raises(InvalidRequest, match=r"\['letta/scripted', 'box/a-model'\], or LETTA_DEFAULT_MODEL"):
                registry.default_handle()
            assert Registry(registry.providers(), default="box/a-model").default_handle() == "box/a-model"
            await registry.aclose()

    run(scenario)


# Sizes


def test_the_endpoints_own_window_wins_over_the_catalog_and_the_catalog_over_a_guess(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario() -> None:
        async with model_server("gpt-4o", "mystery") as silent, model_server("gpt-4o", max_model_len=9_000) as telling:
            remote = ProviderConfig(name="mine", type="openai", base_url=silent.url, category="byok")
            registry = Registry([remote, local("box", telling.url), local("mute", silent.url)])
            await registry.models()
            with caplog.at_level(logging.WARNING):
                windows = {
                    handle: registry.resolve(handle).context_window
                    for handle in ("box/gpt-4o", "mine/gpt-4o", "mine/mystery", "mine/mystery", "mute/mystery")
                }
            assert windows == {
                "box/gpt-4o": 9_000,
                "mine/gpt-4o": 128_000,
                "mine/mystery": 32_000,
                "mute/mystery": 8_192,
            }
            assert registry.resolve("box/gpt-4o").max_output_tokens == 9_000
            await registry.aclose()

    run(scenario)
    assert sum("mine does not say the context window of mystery" in record.message for record in caplog.records) == 1


def test_a_listed_model_has_every_field_a_client_needs() -> None:
    async def scenario() -> None:
        async with model_server("qwen3:8b", max_model_len=40_960) as server:
            registry = Registry([ProviderConfig("llamacpp", "openai", base_url=server.url, kind="llamacpp")])
            found = (await registry.models())[-1].model_dump(exclude_none=True)
            assert found == {
                "model": "qwen3:8b",
                "name": "qwen3:8b",
                "handle": "llamacpp/qwen3:8b",
                "display_name": "qwen3:8b",
                "context_window": 40_960,
                "max_context_window": 40_960,
                "max_tokens": 10_240,
                "model_endpoint": server.url,
                "model_endpoint_type": "llamacpp",
                "model_type": "llm",
                "provider_type": "openai",
                "provider_name": "llamacpp",
                "provider_category": "base",
            }
            await registry.aclose()

    run(scenario)


# Lists


def test_providers_that_fail_or_hang_neither_break_nor_hold_up_the_list() -> None:
    async def scenario() -> None:
        async with model_server("a-model") as good, model_server("b-model") as hanging, model_server() as broken:
            hanging.open.clear()
            broken.answers = {"/v1/models": (401, {"error": {"message": "bad key k3y"}})}
            configs = [local("good", good.url), local("hanging", hanging.url), local("gone", NOWHERE)]
            refused = ProviderConfig(name="refused", type="openai", base_url=broken.url, api_key="k3y")
            registry = Registry([*configs, refused], patience=0.2)
            assert await handles(registry) == ["letta/scripted", "good/a-model"]
            good_status, hanging_status, gone_status, refused_status = registry.status()
            assert good_status == ProviderStatus("good", ok=True, error=None, models=1)
            assert hanging_status == ProviderStatus("hanging", ok=None, error=None, models=0)
            assert (gone_status.ok, refused_status.ok) == (False, False)
            assert "cannot reach" in (gone_status.error or "")
            assert "k3y" not in (refused_status.error or "k3y")
            hanging.open.set()

            async def listed() -> bool:
                return "hanging/b-model" in await handles(registry)

            await until(listed)
            await registry.aclose()

    run(scenario)


def test_a_list_is_kept_for_ten_minutes_and_then_renewed_behind_the_readers_back() -> None:
    async def scenario() -> None:
        async with model_server("first") as server:
            clock = Clock()
            registry = Registry([local("box", server.url)], clock=clock)
            assert await handles(registry) == ["letta/scripted", "box/first"]
            server.list("second")
            clock.now = LIST_TTL - 1
            assert await handles(registry) == ["letta/scripted", "box/first"]
            assert server.count("/v1/models") == 1
            clock.now = LIST_TTL + 1
            server.open.clear()
            assert await handles(registry) == ["letta/scripted", "box/first"]
            server.open.set()

            async def renewed() -> bool:
                return await handles(registry) == ["letta/scripted", "box/second"]

            await until(renewed)
            assert server.count("/v1/models") == 2
            await registry.aclose()

    run(scenario)


def test_a_failed_provider_is_asked_again_only_after_a_while_and_keeps_its_last_list() -> None:
    async def scenario() -> None:
        async with model_server("a-model") as server:
            clock = Clock()
            registry = Registry([local("box", server.url)], clock=clock)
            server.answers = {"/v1/models": (500, {})}
            assert await handles(registry) == ["letta/scripted"]
            asked = server.count("/v1/models")
            server.list("a-model")
            assert await handles(registry) == ["letta/scripted"]
            assert server.count("/v1/models") == asked
            clock.now = RETRY_AFTER + 1
            assert await handles(registry) == ["letta/scripted", "box/a-model"]
            server.answers = {}
            with pytest.raises(ModelError):
                await registry.refresh("box")
            assert await handles(registry) == ["letta/scripted", "box/a-model"]
            assert registry.status()[0].ok is False
            await registry.aclose()

    run(scenario)


def test_many_readers_share_one_fetch() -> None:
    async def scenario() -> None:
        async with model_server("a-model") as server:
            registry = Registry([local("box", server.url)])
            registry.warm()
            lists = await asyncio.gather(*(handles(registry) for _ in range(5)))
            assert lists == [["letta/scripted", "box/a-model"]] * 5
            assert server.count("/v1/models") == 1
            await registry.aclose()

    run(scenario)


# Providers


def test_refresh_asks_now_and_names_the_providers_when_there_is_no_such_one() -> None:
    async def scenario() -> None:
        async with model_server("first") as server:
            registry = Registry([local("box", server.url)])
            await registry.models()
            server.list("first", "second")
            assert [card.name for card in await registry.refresh("box")] == ["first", "second"]
            with pytest.raises(NotFound, match=r"Provider nobody not found, must be one of \['box'\]"):
                await registry.refresh("nobody")
            await registry.aclose()

    run(scenario)


def test_byok_providers_are_replaced_as_a_set_and_unchanged_ones_keep_their_client() -> None:
    async def scenario() -> None:
        async with model_server("a-model") as server:
            registry = Registry([local("box", server.url)])
            kept = ProviderConfig("kept", "openai", base_url=server.url, api_key="1", category="byok")
            changed = ProviderConfig("changed", "openai", base_url=server.url, api_key="1", category="byok")
            registry.set_byok([kept, changed])
            before = [registry.resolve(f"{name}/a-model").model for name in ("kept", "changed")]
            registry.set_byok([replace(kept), replace(changed, api_key="2")])
            after = [registry.resolve(f"{name}/a-model").model for name in ("kept", "changed")]
            assert [old is new for old, new in zip(before, after, strict=True)] == [True, False]
            assert len(await before[1].list_models()) == 1
            assert [config.name for config in registry.providers()] == ["box", "kept", "changed"]
            registry.set_byok([])
            with pytest.raises(NotFound):
                registry.resolve("kept/a-model")
            await registry.aclose()
            for model in before:
                await assert_closed(model)

    run(scenario)


def test_a_stored_provider_that_cannot_be_used_is_left_out_with_a_reason(caplog: pytest.LogCaptureFixture) -> None:
    registry = Registry()
    good = ProviderConfig("good", "openai", base_url=NOWHERE)
    bad = [ProviderConfig("odd", "nonsense"), ProviderConfig("broken", "openai", base_url="http://[::1")]
    registry.set_byok([*bad, good])
    assert registry.providers() == [good]
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
        "provider odd is left out",
        "provider broken is left out",
    ]
    for config in bad:
        with pytest.raises(InvalidRequest):
            validate(config)
    with pytest.raises(InvalidRequest, match="base_url of provider broken is not a URL"):
        asyncio.run(registry.check(bad[1]))


async def assert_closed(model: Model) -> None:
    with pytest.raises(RuntimeError, match="closed"):
        await model.list_models()


def test_a_key_is_checked_by_really_listing_and_the_providers_refusal_comes_through() -> None:
    async def scenario() -> None:
        async with model_server("a-model") as server:
            config = ProviderConfig("mine", "openai", base_url=server.url, api_key="k3y", category="byok")
            registry = Registry()
            await registry.check(config)
            assert server.seen[-1].headers["authorization"] == "Bearer k3y"
            server.answers = {"/v1/models": (401, {"error": {"message": "no"}})}
            with pytest.raises(ModelAuthentication):
                await registry.check(config)
            with pytest.raises(InvalidRequest, match="api_key is empty"):
                await registry.check(ProviderConfig("mine", "openai"))
            with pytest.raises(InvalidRequest, match="cannot be used here"):
                await registry.check(ProviderConfig("mine", "chatgpt_oauth"))
            assert registry.providers() == []

    run(scenario)


def test_a_public_model_list_does_not_pass_a_wrong_key(official: Callable[[str, ModelServer], ProviderConfig]) -> None:
    async def scenario() -> None:
        async with model_server("a-model") as server:
            config = official("openrouter", server)
            server.answers["/key"] = (401, {"error": {"message": "No auth credentials found"}})
            with pytest.raises(ModelAuthentication):
                await Registry().check(config)
            server.answers["/key"] = (200, {"data": {"label": "mine"}})
            await Registry().check(config)

    run(scenario)


def test_servers_found_later_join_without_displacing_configured_ones() -> None:
    registry = Registry([local("ollama", "http://gpu:11434")])
    registry.add([local("ollama", "http://127.0.0.1:11434"), local("lmstudio_openai", "http://127.0.0.1:1234")])
    assert [(config.name, config.base_url) for config in registry.providers()] == [
        ("ollama", "http://gpu:11434"),
        ("lmstudio_openai", "http://127.0.0.1:1234"),
    ]
    assert registry.resolve("lmstudio/some-model").handle == "lmstudio_openai/some-model"
