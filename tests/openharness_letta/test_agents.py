"""Agents, their memory and their archive, against the wire server."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from letta_client import AsyncLetta, Letta, NotFoundError
from tests.openharness_letta.wire_server import WireServer

import openharness_letta
from openharness.adapter import AdapterCapabilities
from openharness.types import AgentState, ArchiveEntry, ExecuteRequest, ModelConfig, UpdateAgentRequest
from openharness_letta import LettaAdapter, MemoryBlockManager
from openharness_letta.types import (
    LettaAgentConfig,
    LettaMessage,
    LettaResponse,
    LettaToolCall,
    MemoryBlock,
    MemoryBlockLabel,
)

pytestmark = pytest.mark.anyio

UNKNOWN = "agent-00000000-0000-4000-8000-00000000dead"
HUMAN = MemoryBlock("human", "The user has not provided information yet.", 5000)
PERSONA = MemoryBlock("persona", "I am a helpful AI assistant.", 5000)


async def test_adapter_tells_what_it_is_without_a_server() -> None:
    adapter = LettaAdapter("key", "http://127.0.0.1:9", 1.0)
    assert (adapter.id, adapter.name, adapter.version) == ("letta", "Letta", "0.1.0")
    assert adapter.capabilities == AdapterCapabilities(agents=True, execution=True, streaming=True, memory=True)
    assert (adapter._client, adapter._memory_manager) == (None, None)


async def test_manifest_names_the_thirteen_operations() -> None:
    manifest = await LettaAdapter().get_capability_manifest()
    assert (manifest.harness_id, manifest.version) == ("letta", "0.1.0")
    assert [capability.id for capability in manifest.capabilities] == [
        "agents.create",
        "agents.get",
        "agents.list",
        "agents.update",
        "agents.delete",
        "execution.run",
        "execution.stream",
        "memory.blocks.list",
        "memory.blocks.get",
        "memory.blocks.update",
        "memory.blocks.create",
        "memory.blocks.delete",
        "memory.archive.search",
    ]
    assert all(capability.supported for capability in manifest.capabilities)
    assert [bool(capability.notes) for capability in manifest.capabilities] == [False] * 12 + [True]


async def test_package_exports_the_adapter_and_the_memory_manager() -> None:
    assert openharness_letta.__all__ == ["LettaAdapter", "MemoryBlockManager"]


async def test_types_have_the_fields_and_defaults_of_the_contract() -> None:
    assert [label.value for label in MemoryBlockLabel] == ["human", "persona", "system"]
    assert vars(MemoryBlock("a", "b", 1, "t", True)) == {
        "label": "a",
        "value": "b",
        "limit": 1,
        "template_name": "t",
        "template": True,
    }
    assert vars(MemoryBlock("a", "b")) == {
        "label": "a",
        "value": "b",
        "limit": None,
        "template_name": None,
        "template": False,
    }
    assert vars(LettaAgentConfig()) == {
        "name": None,
        "model": "openai/gpt-4o-mini",
        "embedding_model": "openai/text-embedding-ada-002",
        "memory_blocks": [],
        "tools": [],
        "system_prompt": None,
        "include_base_tools": True,
        "metadata": {},
    }
    assert vars(LettaMessage("user", "hi")) == {"role": "user", "content": "hi", "name": None}
    assert vars(LettaToolCall("1", "t", {})) == {"id": "1", "name": "t", "arguments": {}}
    assert vars(LettaResponse([])) == {"messages": [], "usage": None}


@pytest.mark.parametrize(
    ("arguments", "environment", "url", "key"),
    [
        ({}, {}, "http://localhost:8283", None),
        ({"api_key": "k"}, {}, "http://localhost:8283", "k"),
        ({"base_url": "http://a:1", "api_key": "k"}, {"LETTA_API_KEY": "e"}, "http://a:1", "k"),
        ({}, {"LETTA_BASE_URL": "http://b:2", "LETTA_API_KEY": "e"}, "http://b:2", "e"),
        ({"base_url": "http://a:1"}, {"LETTA_BASE_URL": "http://b:2"}, "http://a:1", None),
    ],
    ids=["nothing", "key", "both", "environment", "argument wins"],
)
async def test_server_and_key_come_from_arguments_then_environment(
    monkeypatch: pytest.MonkeyPatch,
    arguments: dict[str, str],
    environment: dict[str, str],
    url: str,
    key: str | None,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    async with LettaAdapter(**arguments, timeout=7.0) as adapter:
        assert adapter.memory
        client = adapter._client
        assert isinstance(client, AsyncLetta)
        assert (str(client.base_url).rstrip("/"), client.api_key, client.timeout) == (url, key, 7.0)


async def test_key_is_sent_with_messages(server: WireServer) -> None:
    async with LettaAdapter("secret", server.base_url) as adapter:
        await adapter.execute(ExecuteRequest(message="hi"))
    assert server.keys == {"Bearer secret"}


@pytest.mark.parametrize("as_dict", [True, False])
async def test_agent_is_made_from_every_field_of_its_config(
    server: WireServer, adapter: LettaAdapter, as_dict: bool
) -> None:
    server.add_tool("roll", "custom")
    blocks: list[Any] = [MemoryBlock("human", "Ann", 100), MemoryBlock("notes", "", None, "notes-v1", True)]
    fields: dict[str, Any] = {
        "name": "ann",
        "model": "openai/gpt-4o",
        "embedding_model": "openai/text-embedding-3-small",
        "tools": ["roll"],
        "system_prompt": "Be kind.",
        "include_base_tools": False,
        "metadata": {"team": "a"},
    }
    config = (
        {**fields, "memory_blocks": [vars(blocks[0]), vars(blocks[1])]}
        if as_dict
        else LettaAgentConfig(**fields, memory_blocks=blocks)
    )
    agent_id = await adapter.create_agent(config)
    made = server.agents[agent_id]
    assert {key: made.state[key] for key in ("name", "model", "embedding", "system", "metadata")} == {
        "name": "ann",
        "model": "openai/gpt-4o",
        "embedding": "openai/text-embedding-3-small",
        "system": "Be kind.",
        "metadata": {"team": "a"},
    }
    assert [server.tools[tool]["name"] for tool in made.tools] == ["roll"]
    sent = ("label", "value", "limit", "template_name", "is_template")
    assert [{key: server.blocks[block].get(key) for key in sent} for block in made.blocks] == [
        {"label": "human", "value": "Ann", "limit": 100, "template_name": None, "is_template": None},
        {"label": "notes", "value": "", "limit": 5000, "template_name": "notes-v1", "is_template": True},
    ]


async def test_agent_without_blocks_gets_the_standard_ones(adapter: LettaAdapter, agent_id: str) -> None:
    assert await adapter.memory.get_blocks(agent_id) == [HUMAN, PERSONA]


async def test_default_embedding_model_gives_way_where_the_server_has_none(
    server: WireServer, adapter: LettaAdapter
) -> None:
    server.unknown_handles = {"openai/text-embedding-ada-002", "openai/other"}
    agent_id = await adapter.create_agent(LettaAgentConfig(name="ann"))
    assert server.agents[agent_id].state["embedding"] is None
    with pytest.raises(NotFoundError, match=r"Agent bob: not found: .*openai/other"):
        await adapter.create_agent(LettaAgentConfig(name="bob", embedding_model="openai/other"))


@pytest.mark.parametrize(
    ("config", "complaint"),
    [({"colour": "red"}, "colour"), ({"memory_blocks": [{"value": "x"}]}, "label")],
    ids=["field", "block"],
)
async def test_unknown_config_is_refused_by_name(adapter: LettaAdapter, config: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        await adapter.create_agent(config)


async def test_agent_is_told_as_a_dict(server: WireServer, adapter: LettaAdapter, agent_id: str) -> None:
    assert await adapter.get_agent(agent_id) == {
        "id": agent_id,
        "name": "ann",
        "model": "openai/gpt-4o-mini",
        "created_at": server.agents[agent_id].state["created_at"],
        "metadata": {},
    }


async def test_every_agent_is_listed_across_pages(adapter: LettaAdapter) -> None:
    made = [await adapter.create_agent({"name": f"a{number}"}) for number in range(7)]
    listed = await adapter.list_agents()
    assert sorted(agent["id"] for agent in listed) == sorted(made)
    assert listed[0] == {"id": made[0], "name": "a0", "model": "openai/gpt-4o-mini"}


async def test_agent_is_updated_by_keywords_mappings_and_requests(
    server: WireServer, adapter: LettaAdapter, agent_id: str
) -> None:
    state = server.agents[agent_id].state
    told = await adapter.update_agent(agent_id, name="bob", system_prompt="Be brief.", tools=["memory_insert"])
    assert (told["name"], state["system"]) == ("bob", "Be brief.")
    assert server.agents[agent_id].tools == [server.named("memory_insert")["id"]]
    await adapter.update_agent(agent_id, {"description": "d", "tags": ["t"], "metadata": {"a": 1}})
    assert (state["description"], state["tags"], state["metadata"]) == ("d", ["t"], {"a": 1})
    model = ModelConfig(provider="anthropic", name="claude-sonnet-4-5", embedding="openai/text-embedding-3-small")
    told = await adapter.update_agent(agent_id, UpdateAgentRequest(model=model))
    assert (told["model"], state["embedding"]) == ("anthropic/claude-sonnet-4-5", "openai/text-embedding-3-small")
    assert state["name"] == "bob"


async def test_update_refuses_by_name_what_an_agent_does_not_have(adapter: LettaAdapter, agent_id: str) -> None:
    request = UpdateAgentRequest(license="MIT", state=AgentState.PAUSED)
    with pytest.raises(ValueError, match="cannot change license, state"):
        await adapter.update_agent(agent_id, request)
    with pytest.raises(LookupError, match="Tool not found: nothing"):
        await adapter.update_agent(agent_id, tools=["nothing"])


async def test_unknown_agent_is_named_everywhere(adapter: LettaAdapter) -> None:
    for call in (
        adapter.get_agent(UNKNOWN),
        adapter.update_agent(UNKNOWN, name="x"),
        adapter.delete_agent(UNKNOWN),
        adapter.search_archive(UNKNOWN, "x"),
        adapter.add_to_archive(UNKNOWN, "x"),
        adapter.answer_approvals(UNKNOWN, {}),
        adapter.memory.get_blocks(UNKNOWN),
        adapter.memory.get_block(UNKNOWN, "human"),
        adapter.memory.update_block(UNKNOWN, "human", "x"),
        adapter.memory.delete_block(UNKNOWN, "human"),
        adapter.memory.add_block(UNKNOWN, MemoryBlock("a", "b")),
    ):
        with pytest.raises(NotFoundError, match=rf"(?i)agent {UNKNOWN}: not found"):
            await call


async def test_deleted_agent_leaves_no_blocks_but_those_of_others(
    server: WireServer, adapter: LettaAdapter, agent_id: str
) -> None:
    other = await adapter.create_agent({"name": "bob"})
    shared = server.new_block({"label": "shared", "value": "x"})
    foreign = server.new_block({"label": "foreign", "value": "x"})
    given = next(block for block in server.agents[agent_id].blocks if server.blocks[block]["label"] == "human")
    server.agents[agent_id].blocks += [shared["id"], foreign["id"]]
    server.agents[other].blocks += [shared["id"], given]
    await adapter.memory.add_block(agent_id, MemoryBlock("own", "x"))
    await adapter.delete_agent(agent_id)
    kept = {shared["id"], foreign["id"], *server.agents[other].blocks}
    assert set(server.blocks) == kept
    assert [agent["id"] for agent in await adapter.list_agents()] == [other]


async def test_message_without_an_agent_goes_to_the_one_default_agent(server: WireServer) -> None:
    async with LettaAdapter(base_url=server.base_url) as first, LettaAdapter(base_url=server.base_url) as second:
        request = ExecuteRequest(message="hi")
        results = await asyncio.gather(*(adapter.execute(request) for adapter in (first, first, second, second)))
    [agent] = server.agents.values()
    assert agent.state["name"] == "openharness-default-agent"
    assert {result.metadata["agent_id"] for result in results} == {agent.state["id"]}
    assert len(server.blocks) == 2


async def test_default_agent_is_remembered_after_closing_and_made_anew_when_deleted(
    server: WireServer, adapter: LettaAdapter
) -> None:
    request = ExecuteRequest(message="hi")
    first = (await adapter.execute(request)).metadata["agent_id"]
    await adapter.close()
    assert (adapter._client, adapter._memory_manager) == (None, None)
    assert (await adapter.execute(request)).metadata["agent_id"] == first
    await adapter.delete_agent(first)
    second = (await adapter.execute(request)).metadata["agent_id"]
    assert second != first
    del server.agents[second]
    with pytest.raises(NotFoundError):
        await adapter.execute(request)
    assert (await adapter.execute(request)).metadata["agent_id"] not in {first, second}


def test_adapter_works_in_one_event_loop_after_another(server: WireServer) -> None:
    adapter = LettaAdapter(base_url=server.base_url)

    async def use() -> None:
        async with adapter:
            await adapter.create_agent({"name": "ann"})
            assert await adapter.memory.get_blocks((await adapter.list_agents())[0]["id"]) == [HUMAN, PERSONA]

    asyncio.run(use())
    asyncio.run(use())


@pytest.mark.parametrize("kind", [Letta, AsyncLetta])
async def test_memory_manager_takes_either_client(
    server: WireServer, agent_id: str, kind: type[Letta] | type[AsyncLetta]
) -> None:
    client = kind(base_url=server.base_url)
    manager = MemoryBlockManager(client)
    assert await manager.get_block(agent_id, "human") == HUMAN
    assert await manager.get_block(agent_id, "nothing") is None
    assert await manager.update_block(agent_id, "human", "Ann") == MemoryBlock("human", "Ann", 5000)
    assert await manager.add_block(agent_id, MemoryBlock("project", "x", 10)) == MemoryBlock("project", "x", 10)
    bare: Any = SimpleNamespace(label="bare", value="y")
    assert await manager.add_block(agent_id, bare) == MemoryBlock("bare", "y", 5000)
    assert [block.label for block in await manager.get_blocks(agent_id)] == ["human", "persona", "project", "bare"]
    await manager.delete_block(agent_id, "project")
    await manager.delete_block(agent_id, "project")
    assert [block.label for block in await manager.get_blocks(agent_id)] == ["human", "persona", "bare"]
    assert {block["label"] for block in server.blocks.values()} == {"human", "persona", "bare"}
    with pytest.raises(NotFoundError, match="Block project of agent"):
        await manager.update_block(agent_id, "project", "z")
    if isinstance(client, AsyncLetta):
        await client.close()
    else:
        client.close()


async def test_block_that_cannot_be_attached_is_taken_back(
    server: WireServer, adapter: LettaAdapter, agent_id: str
) -> None:
    with pytest.raises(Exception, match="the agent has a block human"):
        await adapter.memory.add_block(agent_id, MemoryBlock("human", "again"))
    assert len(server.blocks) == 2


async def test_block_of_another_agent_survives_its_deletion_here(
    server: WireServer, adapter: LettaAdapter, agent_id: str
) -> None:
    other = await adapter.create_agent({"name": "bob"})
    server.agents[other].blocks = list(server.agents[agent_id].blocks)
    await adapter.memory.delete_block(agent_id, "human")
    assert [block.label for block in await adapter.memory.get_blocks(agent_id)] == ["persona"]
    assert await adapter.memory.get_block(other, "human") == HUMAN


async def test_standard_blocks_take_texts(adapter: LettaAdapter) -> None:
    manager = adapter.memory
    assert manager.get_standard_blocks() == [
        MemoryBlock("human", HUMAN.value),
        MemoryBlock("persona", PERSONA.value),
    ]
    assert manager.get_standard_blocks("Ann", "A pirate") == [
        MemoryBlock("human", "Ann"),
        MemoryBlock("persona", "A pirate"),
    ]


async def test_archive_is_written_and_searched(server: WireServer, adapter: LettaAdapter, agent_id: str) -> None:
    added = await adapter.add_to_archive(agent_id, "Ann likes tea", tags=["drinks"])
    await adapter.add_to_archive(agent_id, "Bob likes tea, too")
    stored = server.agents[agent_id].archive[0]
    assert added == ArchiveEntry.model_validate(
        {
            "id": stored["id"],
            "content": "Ann likes tea",
            "metadata": {"tags": ["drinks"]},
            "created_at": stored["created_at"],
        }
    )
    assert await adapter.search_archive(agent_id, query="tea", limit=1) == [added]
    assert len(await adapter.search_archive(agent_id, "tea")) == 2
    assert await adapter.search_archive(agent_id, "coffee") == []
