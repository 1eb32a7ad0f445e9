"""The newest Python SDK in its strict mode: agents, what is attached to them, and the small lists around them."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from letta_client import BadRequestError, Letta, NotFoundError, UnprocessableEntityError
from letta_client.types import AgentState
from tests.contract.calls import call, plain

MODEL = "openai/gpt-4o-mini"
RELATIONS = ["agent.blocks", "agent.identities", "agent.managed_group", "agent.pending_approval", "agent.secrets"]
RELATIONS += ["agent.sources", "agent.tags", "agent.tools"]
SETTINGS: dict[str, Any] = {"provider_type": "openai", "temperature": 0.5, "max_output_tokens": 900}
LLM_CONFIG: dict[str, Any] = {"model": "gpt-4o-mini", "model_endpoint_type": "openai", "context_window": 30_000}
EMBEDDING_CONFIG: dict[str, Any] = {
    "embedding_model": "text-embedding-3-small",
    "embedding_endpoint_type": "openai",
    "embedding_dim": 1536,
}


@pytest.fixture
def agent(client: Letta) -> Iterator[AgentState]:
    made = client.agents.create(name=f"agent-{uuid4()}", model=MODEL, memory_blocks=[{"label": "human", "value": "Bo"}])
    yield made
    client.agents.delete(made.id)


@pytest.fixture
def identity(client: Letta) -> Iterator[str]:
    body = {"identifier_key": f"key-{uuid4()}", "name": "Ada", "identity_type": "user"}
    made: str = client.post("/v1/identities/", body=body, cast_to=dict[str, Any])["id"]
    yield made
    client.delete(f"/v1/identities/{made}", cast_to=object)


def test_health_names_status_and_version(client: Letta) -> None:
    assert client.health().status == "ok"
    assert client.health().version.count(".") == 2


def test_agent_created_with_every_parameter_has_all_of_them(client: Letta, identity: str) -> None:
    block = client.blocks.create(label="shared", value="together")
    tool = next(iter(client.tools.list(name="memory_rethink")))
    made = call(
        client.agents.create,
        agent_type="letta_v1_agent",
        base_template_id="base-1",
        block_ids=[block.id],
        compaction_settings={"mode": "all", "clip_chars": 4000},
        context_window_limit=20_000,
        description="A thorough agent",
        embedding="openai/text-embedding-3-small",
        embedding_chunk_size=300,
        embedding_config=EMBEDDING_CONFIG,
        enable_reasoner=True,
        enable_sleeptime=False,
        folder_ids=[],
        from_template=None,
        hidden=False,
        identity_ids=[identity],
        include_base_tool_rules=True,
        include_base_tools=True,
        include_default_source=False,
        initial_message_sequence=[{"role": "user", "content": "I was here before"}],
        llm_config=LLM_CONFIG,
        max_files_open=7,
        max_reasoning_tokens=100,
        max_tokens=800,
        memory_blocks=[{"label": "human", "value": "Name: {{who}}", "limit": 2000}],
        memory_variables={"who": "Bob"},
        message_buffer_autoclear=True,
        metadata={"team": "blue"},
        model=MODEL,
        model_settings=SETTINGS,
        name="thorough",
        parallel_tool_calls=True,
        per_file_view_window_char_limit=9000,
        project="ignored",
        project_id="project-1",
        reasoning=True,
        response_format={"type": "text"},
        secrets={"TOKEN": "s3cret"},
        source_ids=[],
        system="Be exact.",
        tags=["b", "a"],
        template=False,
        template_id="template-1",
        timezone="Europe/Vienna",
        tool_exec_environment_variables={"TOKEN": "s3cret"},
        tool_ids=[tool.id],
        tool_rules=[{"type": "exit_loop", "tool_name": "memory_rethink"}],
        tools=["memory_finish_edits"],
    )
    kept = plain(client.agents.retrieve(made.id, include=RELATIONS))  # type: ignore[arg-type]
    expected = {
        "agent_type": "letta_v1_agent",
        "base_template_id": "base-1",
        "description": "A thorough agent",
        "embedding": "openai/text-embedding-3-small",
        "hidden": False,
        "max_files_open": 7,
        "message_buffer_autoclear": True,
        "metadata": {"team": "blue"},
        "model": MODEL,
        "name": "thorough",
        "per_file_view_window_char_limit": 9000,
        "project_id": "project-1",
        "response_format": {"type": "text"},
        "system": "Be exact.",
        "tags": ["a", "b"],
        "template_id": "template-1",
        "timezone": "Europe/Vienna",
    }
    assert {name: kept[name] for name in expected} == expected
    assert {one["label"]: one["value"] for one in kept["blocks"]} == {"shared": "together", "human": "Name: Bob"}
    assert kept["memory"]["blocks"] == kept["blocks"]
    assert {"memory_rethink", "memory_finish_edits", "memory_insert"} <= {one["name"] for one in kept["tools"]}
    assert [one["id"] for one in kept["identities"]] == [identity]
    assert [(one["key"], one["value"]) for one in kept["secrets"]] == [("TOKEN", "********")]
    assert [rule["type"] for rule in kept["tool_rules"]] == ["exit_loop"]
    assert kept["llm_config"]["context_window"] == 20_000
    assert kept["llm_config"]["max_tokens"] == 800
    assert kept["model_settings"]["temperature"] == 0.5
    assert len(kept["message_ids"]) == 2
    client.agents.delete(made.id)
    client.blocks.delete(block.id)


def test_agent_updated_with_every_parameter_has_all_of_them(client: Letta, agent: AgentState, identity: str) -> None:
    block = client.blocks.create(label="persona", value="calm")
    tool = next(iter(client.tools.list(name="memory_rethink")))
    before = agent.message_ids
    call(
        client.agents.update,
        # No SDK documents what writing the window would mean, and no client does it.
        unset={"message_ids"},
        agent_id=agent.id,
        base_template_id="base-2",
        block_ids=[block.id],
        compaction_settings={"mode": "sliding_window", "clip_chars": 3000},
        context_window_limit=10_000,
        description="changed",
        embedding="openai/text-embedding-3-large",
        embedding_config={**EMBEDDING_CONFIG, "embedding_dim": 3072},
        enable_sleeptime=False,
        folder_ids=[],
        hidden=True,
        identity_ids=[identity],
        last_run_completion="2026-01-31T12:00:00Z",
        last_run_duration_ms=17,
        last_stop_reason="end_turn",
        llm_config=LLM_CONFIG,
        max_files_open=3,
        max_tokens=700,
        message_buffer_autoclear=False,
        metadata={"team": "red"},
        model="openai/gpt-4o",
        model_settings=SETTINGS,
        name="renamed",
        parallel_tool_calls=False,
        per_file_view_window_char_limit=100,
        project_id="project-2",
        reasoning=False,
        response_format={"type": "json_object"},
        secrets={"OTHER": "value"},
        source_ids=[],
        system="Be brief.",
        tags=["new"],
        template_id="template-2",
        timezone="UTC",
        tool_exec_environment_variables={"OTHER": "value"},
        tool_ids=[tool.id],
        tool_rules=[{"type": "continue_loop", "tool_name": "memory_rethink"}],
    )
    kept = plain(client.agents.retrieve(agent.id, include=RELATIONS))  # type: ignore[arg-type]
    expected = {
        "base_template_id": "base-2",
        "description": "changed",
        "embedding": "openai/text-embedding-3-large",
        "hidden": True,
        "last_run_completion": "2026-01-31T12:00:00Z",
        "last_run_duration_ms": 17,
        "last_stop_reason": "end_turn",
        "max_files_open": 3,
        "message_buffer_autoclear": False,
        "metadata": {"team": "red"},
        "model": "openai/gpt-4o",
        "name": "renamed",
        "per_file_view_window_char_limit": 100,
        "project_id": "project-2",
        "response_format": {"type": "json_object"},
        "system": "Be brief.",
        "tags": ["new"],
        "template_id": "template-2",
        "timezone": "UTC",
    }
    assert {name: kept[name] for name in expected} == expected
    assert [one["id"] for one in kept["blocks"]] == [block.id]
    assert [one["name"] for one in kept["tools"]] == ["memory_rethink"]
    assert [one["id"] for one in kept["identities"]] == [identity]
    assert [one["key"] for one in kept["secrets"]] == ["OTHER"]
    assert kept["message_ids"] == before
    client.blocks.delete(block.id)


def test_absent_keeps_and_null_clears(client: Letta, agent: AgentState) -> None:
    client.agents.update(agent.id, description="there", metadata={"a": 1})
    assert client.agents.update(agent.id, name="kept").description == "there"
    cleared = client.agents.update(agent.id, description=None)
    assert (cleared.description, cleared.metadata) == (None, {"a": 1})


def test_relations_are_loaded_unless_others_are_asked_for(client: Letta, agent: AgentState) -> None:
    client.agents.update(agent.id, tags=["x"])
    assert client.agents.retrieve(agent.id).tags == ["x"]
    only = call(client.agents.retrieve, agent_id=agent.id, include=["agent.tools"], include_relationships=None)
    assert (only.tags, only.blocks, bool(only.tools)) == ([], [], True)
    older = client.agents.retrieve(agent.id, include_relationships=["tags"])
    assert (older.tags, older.tools) == (["x"], [])


def test_list_takes_every_filter(client: Letta, identity: str) -> None:
    mark = f"tag-{uuid4()}"
    made = client.agents.create(
        name=mark, model=MODEL, tags=[mark, "second"], identity_ids=[identity], project_id=mark, template_id=mark,
        base_template_id=mark,
    )  # fmt: skip
    client.agents.create(name="another", model=MODEL, tags=[mark])
    client.agents.update(made.id, last_stop_reason="end_turn")
    key = client.get(f"/v1/identities/{identity}", cast_to=dict[str, Any])["identifier_key"]
    found = call(
        client.agents.list,
        after=None,
        ascending=False,
        base_template_id=mark,
        before=None,
        created_by_id=None,
        identifier_keys=[key],
        identity_id=identity,
        include=["agent.tags"],
        include_relationships=None,
        last_stop_reason="end_turn",
        limit=10,
        match_all_tags=True,
        name=mark,
        order="desc",
        order_by="created_at",
        project_id=mark,
        query_text=mark,
        sort_by="created_at",
        tags=[mark, "second"],
        template_id=mark,
    )
    assert [one.id for one in found] == [made.id]
    assert len(list(client.agents.list(tags=[mark, "second"], match_all_tags=False))) == 2
    assert list(client.agents.list(tags=[mark], last_stop_reason="error")) == []


def test_deleted_agent_is_gone(client: Letta) -> None:
    made = client.agents.create(model=MODEL)
    client.agents.delete(made.id)
    with pytest.raises(NotFoundError) as gone:
        client.agents.retrieve(made.id)
    assert gone.value.body == {"detail": f"agent {made.id} not found"}


def test_recompiled_prompt_is_a_json_string_that_holds_the_memory(client: Letta, agent: AgentState) -> None:
    text = call(client.agents.recompile, agent_id=agent.id, dry_run=True, update_timestamp=True)
    assert text.startswith('"')
    assert "Bo" in text


def test_identities_are_attached_and_detached(client: Letta, agent: AgentState, identity: str) -> None:
    for _ in range(2):
        assert call(client.agents.identities.attach, identity_id=identity, agent_id=agent.id) is None
    shown = client.agents.retrieve(agent.id, include=["agent.identities"])
    assert [one.id for one in shown.identities or []] == [identity]
    assert call(client.agents.identities.detach, identity_id=identity, agent_id=agent.id) is None
    assert client.agents.retrieve(agent.id, include=["agent.identities"]).identities == []


def test_tags_are_listed_by_name(client: Letta) -> None:
    mark = str(uuid4())
    client.agents.create(model=MODEL, tags=[f"{mark}-b", f"{mark}-a", f"{mark}-c"])
    names = [f"{mark}-a", f"{mark}-b", f"{mark}-c"]
    assert client.tags.list(name=mark) == names
    page = call(
        client.tags.list,
        after=names[2],
        before=None,
        limit=1,
        name=mark,
        order="desc",
        order_by="name",
        query_text=mark,
    )
    assert page == [names[1]]
    assert client.tags.list(name=mark, after=names[2]) == []


def test_models_are_listed_by_provider(client: Letta) -> None:
    found = call(client.models.list, provider_category=["base"], provider_name="letta", provider_type=None)
    assert [model.handle for model in found] == ["letta/scripted"]
    assert client.models.list(provider_name="nobody") == []
    assert isinstance(client.models.embeddings.list(), list)


def test_refusals_are_the_exceptions_the_client_has_for_them(client: Letta, agent: AgentState) -> None:
    with pytest.raises(NotFoundError):
        client.agents.retrieve(f"agent-{uuid4()}")
    with pytest.raises(UnprocessableEntityError):
        client.agents.retrieve("agent-1")
    with pytest.raises(BadRequestError):
        client.agents.create(model="/nothing")
    with pytest.raises(UnprocessableEntityError):
        client.agents.update(agent.id, timezone="Mars/Base")
