"""Request bodies: older names are understood, absent and null differ, and nothing unstorable gets through."""

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from letta.schemas.agents import AgentState, CreateAgent, UpdateAgent
from letta.schemas.blocks import Block, CreateBlock, UpdateBlock
from letta.schemas.common import MAX_JSON_DEPTH, Body, Prefix, Timestamp, id_pattern, iso, new_id
from letta.schemas.groups import CreateGroup
from letta.schemas.identities import CreateIdentity
from letta.schemas.mcp_servers import CreateMcpServer, NamedMcpServer, UpdateMcpServer
from letta.schemas.model_settings import AnthropicModelSettings, ModelSettings, OtherModelSettings
from letta.schemas.runs import RunStatus, StopReason
from letta.schemas.tools import CreateTool, Tool, ToolApproval, UpdateTool

LLM = {"model": "gpt-4o", "model_endpoint_type": "openai", "context_window": 128_000}
EMBEDDING = {"embedding_model": "e5", "embedding_endpoint_type": "ollama", "embedding_dim": 384}
SETTINGS: TypeAdapter[Any] = TypeAdapter(ModelSettings)


class Anything(Body):
    value: Any = None


def messages_of(error: pytest.ExceptionInfo[ValidationError]) -> list[tuple[tuple[int | str, ...], str]]:
    return [(found["loc"], found["msg"]) for found in error.value.errors()]


@pytest.mark.parametrize(
    ("body", "model", "embedding"),
    [
        ({"model": "a/b"}, "a/b", None),
        ({"llm": "a/b"}, "a/b", None),
        ({"model": "a/b", "llm": "c/d"}, "a/b", None),
        ({"llm_config": LLM, "embedding_config": EMBEDDING}, "openai/gpt-4o", "ollama/e5"),
        ({"llm_config": {**LLM, "handle": "mine/gpt"}, "embedding": "mine/e5"}, "mine/gpt", "mine/e5"),
        ({"llm_config": LLM, "model": "a/b"}, "a/b", None),
        ({}, None, None),
    ],
)
@pytest.mark.parametrize("kind", [CreateAgent, UpdateAgent])
def test_model_is_taken_from_whichever_form_a_client_sends(
    kind: type[CreateAgent] | type[UpdateAgent], body: dict[str, Any], model: str | None, embedding: str | None
) -> None:
    agent = kind.model_validate(body)

    assert (agent.model, agent.embedding) == (model, embedding)
    assert ("model" in agent.model_fields_set) == (model is not None)


def test_environment_variables_of_older_clients_are_secrets() -> None:
    older = CreateAgent.model_validate({"tool_exec_environment_variables": {"KEY": "old"}})
    both = CreateAgent.model_validate({"tool_exec_environment_variables": {"KEY": "old"}, "secrets": {"KEY": "new"}})

    assert (older.secrets, both.secrets) == ({"KEY": "old"}, {"KEY": "new"})


def test_null_for_a_field_with_a_default_means_the_default() -> None:
    body = {
        "agent_type": None,
        "include_base_tools": None,
        "memory_blocks": [{"label": "a", "value": "", "limit": None}],
    }

    agent = CreateAgent.model_validate(body)

    assert agent == CreateAgent(memory_blocks=[CreateBlock(label="a", value="")])


def test_patch_tells_absent_from_null_and_keeps_what_cannot_be_null() -> None:
    agent = UpdateAgent.model_validate({"name": None, "tags": None, "description": None, "hidden": True})
    block = UpdateBlock.model_validate({"value": None, "description": None, "name": "human"})

    assert agent.changes() == {"description": None, "hidden": True}
    assert block.changes() == {"description": None, "template_name": "human"}


def test_unknown_fields_are_ignored() -> None:
    assert CreateBlock.model_validate({"label": "a", "value": "b", "colour": "red"}) == CreateBlock(
        label="a", value="b"
    )


def test_nul_characters_are_removed_everywhere() -> None:
    agent = CreateAgent.model_validate(
        {"name": "a\x00b", "metadata": {"k\x00": ["\x00v"]}, "memory_blocks": [{"label": "l", "value": "x\x00"}]}
    )

    assert agent == CreateAgent(name="ab", metadata={"k": ["v"]}, memory_blocks=[CreateBlock(label="l", value="x")])


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("a\ud800", "half of a surrogate pair at character 1: not valid Unicode"),
        ({"\udc00": 1}, "half of a surrogate pair at character 0: not valid Unicode"),
        (float("nan"), "nan is not a JSON number"),
        ([float("inf")], "inf is not a JSON number"),
        (2**64, "a whole number does not fit in 64 bits"),
        (nested(MAX_JSON_DEPTH), f"nested more than {MAX_JSON_DEPTH} levels deep"),
    ],
)
def test_what_no_database_can_keep_is_refused(value: Any, reason: str) -> None:
    with pytest.raises(ValidationError) as error:
        Anything.model_validate({"value": value})

    assert messages_of(error) == [((), f"Value error, 'value': {reason}")]


def test_deepest_allowed_value_and_full_unicode_pass() -> None:
    value = [nested(MAX_JSON_DEPTH - 2), "日本語 😀", 2**64 - 1]

    assert Anything.model_validate({"value": value}).value == value


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"timezone": "Mars/Olympus"}, "timezone"),
        ({"timezone": "../etc/passwd"}, "timezone"),
        ({"context_window_limit": 0}, "context_window_limit"),
        ({"max_files_open": 2**31}, "max_files_open"),
        ({"agent_type": "robot"}, "agent_type"),
        ({"tool_rules": [{"type": "unheard_of", "tool_name": "x"}]}, "tool_rules"),
        ({"tool_rules": [{"type": "max_count_per_step", "tool_name": "x", "max_count_limit": 0}]}, "tool_rules"),
        ({"response_format": {"type": "json_schema"}}, "response_format"),
        ({"model_settings": {"provider_type": "openai", "temperature": "hot"}}, "model_settings"),
        ({"compaction_settings": {"sliding_window_percentage": 1.5}}, "compaction_settings"),
        ({"initial_message_sequence": [{"role": "tool", "content": "x"}]}, "initial_message_sequence"),
    ],
)
def test_refusal_names_the_field(body: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError) as error:
        CreateAgent.model_validate(body)

    assert [loc[0] for loc, _ in messages_of(error)] == [field]


@pytest.mark.parametrize(
    "settings",
    [
        {"provider_type": "brand_new", "temperature": 0.2, "reasoning": "on", "deep": {"er": [1]}},
        {"temperature": 0.2},
        {"provider_type": None, "max_output_tokens": None},
        {},
    ],
)
def test_settings_of_an_unknown_provider_come_back_as_they_came(settings: dict[str, Any]) -> None:
    read = SETTINGS.validate_python(settings)

    assert type(read) is OtherModelSettings
    assert read.model_dump(mode="json") == settings


def test_settings_of_a_known_provider_keep_fields_newer_than_we_are() -> None:
    read = SETTINGS.validate_python({"provider_type": "anthropic", "speed": "fast"})

    assert read == AnthropicModelSettings.model_validate({"speed": "fast"})
    assert read.model_dump()["speed"] == "fast"


SCHEMA = {"type": "json_schema", "json_schema": {"name": "x"}}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"provider_type": "openai", "reasoning": {"reasoning_effort": "high"}}, ("high", None, None, None)),
        ({"provider_type": "anthropic", "effort": "max"}, ("max", None, None, None)),
        (
            {"provider_type": "anthropic", "thinking": {"type": "enabled", "budget_tokens": 2048}},
            (None, True, 2048, None),
        ),
        ({"provider_type": "zai", "thinking": {"type": "disabled"}}, (None, False, None, None)),
        (
            {
                "provider_type": "google_ai",
                "thinking_config": {"include_thoughts": True, "thinking_budget": 512},
                "response_schema": SCHEMA,
            },
            (None, True, 512, "json_schema"),
        ),
        ({"reasoning": {"reasoning_effort": "low"}, "thinking": {"budget_tokens": 1}}, ("low", None, 1, None)),
        ({"provider_type": "new", "reasoning": "on", "thinking": 3, "effort": 4}, (None, None, None, None)),
        ({"provider_type": "baseten"}, (None, None, None, None)),
    ],
)
def test_settings_read_alike_for_every_provider(settings: dict[str, Any], expected: tuple[Any, ...]) -> None:
    read = SETTINGS.validate_python(settings)

    form = read.answer_format.type if read.answer_format else None
    assert (read.wanted_effort, read.thinking_enabled, read.thinking_budget, form) == expected


def test_tool_metadata_has_its_odd_name_on_the_wire() -> None:
    assert Tool(id="tool-1", metadata_={"a": 1}).model_dump()["metadata_"] == {"a": 1}
    assert CreateTool.model_validate({"source_code": "", "metadata_": {"a": 1}}).metadata_ == {"a": 1}
    assert UpdateTool.model_validate({"metadata": {"a": 1}}).changes() == {"metadata_": {"a": 1}}


@pytest.mark.parametrize("name", ["requires_approval", "body_requires_approval"])
def test_both_official_clients_can_ask_for_approval(name: str) -> None:
    assert ToolApproval.model_validate({name: True}).requires_approval is True


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        ({"command": "npx", "args": []}, "stdio"),
        ({"server_url": "https://mcp.example.test"}, "streamable_http"),
        ({"mcp_server_type": "sse", "server_url": "http://localhost:1"}, "sse"),
    ],
)
def test_mcp_server_type_may_be_left_to_the_configuration(config: dict[str, Any], kind: str) -> None:
    created = CreateMcpServer.model_validate({"server_name": "s", "config": config})
    changed = UpdateMcpServer.model_validate({"config": config})
    named = TypeAdapter(NamedMcpServer).validate_python({"server_name": "s", **config, "type": kind})

    assert changed.config is not None
    assert (created.config.mcp_server_type, changed.config.mcp_server_type, named.type) == (kind, kind, kind)


def test_mcp_server_address_must_be_http() -> None:
    with pytest.raises(ValidationError, match="server_url"):
        CreateMcpServer.model_validate({"server_name": "s", "config": {"server_url": "file:///etc/passwd"}})


@pytest.mark.parametrize(
    ("value", "kind", "fits"),
    [
        ("blue", "string", True),
        (3, "number", True),
        (3.5, "number", True),
        (True, "boolean", True),
        ({"a": 1}, "json", True),
        (True, "number", False),
        (3, "string", False),
        ("true", "boolean", False),
        ("{}", "json", False),
    ],
)
def test_identity_property_is_of_the_type_it_claims(value: Any, kind: str, fits: bool) -> None:
    body = {
        "identifier_key": "k",
        "name": "n",
        "identity_type": "user",
        "properties": [{"key": "p", "value": value, "type": kind}],
    }
    if fits:
        identity = CreateIdentity.model_validate(body)
        assert [found.value for found in identity.properties or []] == [value]
    else:
        with pytest.raises(ValidationError, match="property 'p' is not a"):
            CreateIdentity.model_validate(body)


def test_group_without_manager_takes_turns() -> None:
    group = CreateGroup.model_validate({"agent_ids": [], "description": "d", "manager_config": None})

    assert group.manager_config.manager_type == "round_robin"


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        (datetime(2026, 1, 31, 12, 0, tzinfo=UTC), "2026-01-31T12:00:00.000000Z"),
        (datetime(2026, 1, 31, 12, 0, 0, 5), "2026-01-31T12:00:00.000005Z"),  # noqa: DTZ001  # naive on purpose
        ("2026-01-31T13:00:00.5+01:00", "2026-01-31T12:00:00.500000Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000000Z"),
    ],
)
def test_times_are_sent_in_utc_with_microseconds_and_z(given: Any, sent: str) -> None:
    moment = TypeAdapter(Timestamp).validate_python(given)

    assert (iso(moment), moment.tzinfo) == (sent, UTC)
    assert TypeAdapter(Timestamp).dump_json(moment) == f'"{sent}"'.encode()


def test_moment_outside_the_calendar_in_utc_is_refused() -> None:
    with pytest.raises(ValidationError, match="out of range in UTC"):
        UpdateAgent.model_validate({"last_run_completion": "0001-01-01T00:00:00+14:00"})


def test_new_ids_have_the_form_the_api_checks() -> None:
    for prefix in Prefix:
        first, second = new_id(prefix), new_id(prefix)
        assert re.match(id_pattern(prefix), first)
        assert first != second
    assert new_id(Prefix.FOLDER).startswith("source-")


def test_stop_reason_says_how_the_run_ended() -> None:
    completed = {StopReason.END_TURN, StopReason.MAX_STEPS, StopReason.TOOL_RULE, StopReason.REQUIRES_APPROVAL}

    assert {reason: reason.run_status for reason in StopReason} == {
        reason: RunStatus.COMPLETED
        if reason in completed
        else RunStatus.CANCELLED
        if reason is StopReason.CANCELLED
        else RunStatus.FAILED
        for reason in StopReason
    }


def test_answer_without_relations_has_them_empty() -> None:
    state = AgentState.model_validate(
        {
            "id": "agent-1",
            "name": "a",
            "agent_type": "letta_v1_agent",
            "system": "",
            "llm_config": LLM,
            "memory": {"blocks": [Block(id="block-1", value="v")]},
        }
    )

    sent = state.model_dump(mode="json")
    assert [sent[name] for name in ("blocks", "tools", "sources", "tags", "secrets", "identities")] == [[]] * 6
    assert sent["memory"]["blocks"][0]["id"] == "block-1"
