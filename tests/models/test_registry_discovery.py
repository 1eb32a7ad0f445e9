"""Providers found in an environment and on this machine."""

import asyncio
import re
from pathlib import Path

import pytest
from tests.models.registry_server import model_server

from letta.models.discovery import from_environment, local_servers
from letta.models.kinds import KINDS
from letta.schemas.common import id_pattern


def found(**env: str) -> list[tuple[str, str | None, str | None]]:
    return [(config.name, config.base_url, config.api_key) for config in from_environment(env)[0]]


def hints(**env: str) -> list[str]:
    return from_environment(env)[1]


def test_every_provider_and_its_variables_are_documented() -> None:
    page = (Path(__file__).parents[2] / "docs" / "providers.md").read_text()
    words = {f"`{name}/`" for name, kind in KINDS.items() if kind.keys or kind.urls}
    words |= {f"`{spelling}/" for kind in KINDS.values() for spelling in kind.also}
    words |= {f"`{variable}`" for kind in KINDS.values() for variable in (*kind.keys, *kind.urls)}
    assert [word for word in sorted(words) if word not in page] == []


def test_an_empty_environment_has_no_provider_and_says_what_to_set() -> None:
    configs, said = from_environment({"PATH": "/bin", "OPENAI_API_KEY": "  "})
    assert configs == []
    assert len(said) == 1
    assert "OPENAI_API_KEY" in said[0]
    assert "letta/scripted" in said[0]


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind.keys and not kind.local])
def test_a_key_alone_configures_its_provider(name: str) -> None:
    assert found(**{KINDS[name].keys[0]: "secret"}) == [(name, None, "secret")]


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind.local])
def test_an_address_alone_configures_a_local_server(name: str) -> None:
    assert found(**{KINDS[name].urls[0]: "http://gpu:9000/v1/"}) == [(name, "http://gpu:9000/v1", None)]


def test_openai_is_found_by_either_name_of_its_base_url_with_or_without_a_key() -> None:
    assert found(OPENAI_BASE_URL="http://a:1/v1") == [("openai", "http://a:1/v1", None)]
    assert found(OPENAI_API_BASE="http://b:1", OPENAI_API_KEY="k") == [("openai", "http://b:1", "k")]
    assert found(OPENAI_API_BASE="http://b:1", OPENAI_BASE_URL="http://a:1") == [("openai", "http://a:1", None)]


@pytest.mark.parametrize(
    ("value", "address"),
    [
        ("127.0.0.1", "http://127.0.0.1:11434"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("0.0.0.0:8080", "http://127.0.0.1:8080"),
        (":8080", "http://127.0.0.1:8080"),
        ("box", "http://box:11434"),
        ("https://ollama.example/", "https://ollama.example"),
        ("http://0.0.0.0:11434", "http://127.0.0.1:11434"),
    ],
)
def test_ollama_host_is_read_as_ollama_reads_it(value: str, address: str) -> None:
    assert found(OLLAMA_HOST=value) == [("ollama", address, None)]


def test_azure_bedrock_and_vertex_need_all_their_parts() -> None:
    configs, said = from_environment(
        {
            "AZURE_API_KEY": "a",
            "AZURE_BASE_URL": "https://r.openai.azure.com/",
            "AZURE_API_VERSION": "2025-01-01",
            "AWS_ACCESS_KEY_ID": "id",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "eu-west-1",
            "GOOGLE_CLOUD_PROJECT": "p",
            "GOOGLE_CLOUD_LOCATION": "global",
        }
    )
    assert said == []
    assert [(config.name, config.base_url, config.api_key, dict(config.options)) for config in configs] == [
        ("google_vertex", None, None, {"project": "p", "location": "global"}),
        ("azure", "https://r.openai.azure.com", "a", {"api_version": "2025-01-01"}),
        ("bedrock", None, "secret", {"region": "eu-west-1", "access_key": "id"}),
    ]


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({"AZURE_API_KEY": "k3y"}, "AZURE_BASE_URL"),
        ({"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "k3y"}, "AWS_REGION"),
        ({"GOOGLE_CLOUD_PROJECT": "p"}, "GOOGLE_CLOUD_LOCATION"),
        ({"ANTHROPIC_BASE_URL": "http://proxy"}, "ANTHROPIC_API_KEY"),
        ({"OPENAI_BASE_URL": "user:k3y"}, "OPENAI_BASE_URL"),
        ({"GEMINI_API_KEY": "a", "GOOGLE_API_KEY": "k3y"}, "GOOGLE_API_KEY is ignored"),
    ],
)
def test_what_is_incomplete_or_ignored_is_said_without_keys(env: dict[str, str], words: str) -> None:
    said = hints(**env)
    assert words in said[0]
    assert "k3y" not in " ".join(said)


def test_a_base_provider_has_the_same_well_formed_id_on_every_start() -> None:
    first, second = (from_environment({"OPENAI_API_KEY": key})[0][0] for key in ("one", "two"))
    assert first.id == second.id
    assert re.fullmatch(id_pattern("provider"), first.id)


def test_a_config_shows_no_key_and_no_password() -> None:
    config = from_environment({"OPENAI_API_KEY": "k3y", "OPENAI_BASE_URL": "http://me:pa55@host:1/v1?token=t0ken"})[0][
        0
    ]
    assert "k3y" not in repr(config)
    assert config.shown_url == "http://host:1/v1"


def test_local_servers_are_noticed_where_they_answer_like_themselves() -> None:
    async def scenario() -> list[str]:
        async with model_server("a-model") as ollama, model_server("b-model") as studio, model_server() as other:
            ollama.answers["/api/tags"] = (200, {"models": []})
            other.answers = {"/": (200, "something else"), "/v1/models": (200, [1, 2])}
            both = await local_servers(ollama=ollama.url, lm_studio=studio.url, patience=5)
            none = await local_servers(ollama=studio.url, lm_studio=other.url, patience=5)
            assert [config.base_url for config in both] == [ollama.url, studio.url]
            assert none == []
            return [config.name for config in both]

    assert asyncio.run(scenario()) == ["ollama", "lmstudio_openai"]


def test_a_silent_or_closed_local_port_is_no_server_and_no_wait() -> None:
    async def scenario() -> bool:
        async with model_server("a-model") as silent:
            silent.open.clear()
            return await local_servers(ollama=silent.url, lm_studio="http://127.0.0.1:1", patience=0.05) == []

    assert asyncio.run(scenario())
