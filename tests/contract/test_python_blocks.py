"""The newest Python SDK in its strict mode: blocks, the blocks of an agent, and tools as rows."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from letta_client import APIStatusError, BadRequestError, ConflictError, Letta, NotFoundError
from letta_client.types import AgentState
from tests.contract.calls import call, plain

MODEL = "openai/gpt-4o-mini"
FIELDS: dict[str, Any] = {
    "base_template_id": "base-1",
    "deployment_id": "deployment-1",
    "description": "What it is for",
    "entity_id": "entity-1",
    "hidden": False,
    "is_template": True,
    "label": "notes",
    "limit": 500,
    "metadata": {"a": 1},
    "preserve_on_migration": True,
    "project_id": "project-1",
    "read_only": True,
    "tags": ["one", "two"],
    "template_id": "template-1",
    "template_name": "template",
    "value": "first",
}

CHANGED: dict[str, Any] = {
    **FIELDS,
    "description": "changed",
    "hidden": True,
    "is_template": False,
    "label": "renamed",
    "limit": 600,
    "metadata": {"b": 2},
    "preserve_on_migration": False,
    "read_only": False,
    "tags": ["three"],
    "value": "second",
}


@pytest.fixture
def agent(client: Letta) -> Iterator[AgentState]:
    made = client.agents.create(
        model=MODEL, memory_blocks=[{"label": "human", "value": "Bo"}, {"label": "persona", "value": "kind"}]
    )
    yield made
    client.agents.delete(made.id)


def test_block_keeps_every_field_given_at_creation_and_at_change(client: Letta) -> None:
    made = call(client.blocks.create, **FIELDS)
    kept = plain(client.blocks.retrieve(made.id))
    assert {name: kept[name] for name in FIELDS} == FIELDS
    call(client.blocks.update, block_id=made.id, **CHANGED)
    kept = plain(client.blocks.retrieve(made.id))
    assert {name: kept[name] for name in CHANGED} == CHANGED
    client.blocks.delete(made.id)
    with pytest.raises(NotFoundError):
        client.blocks.retrieve(made.id)


def test_list_of_blocks_takes_every_filter(client: Letta) -> None:
    mark = f"label-{uuid4()}"
    key = f"key-{uuid4()}"
    body = {"identifier_key": key, "name": "Ada", "identity_type": "user"}
    identity = client.post("/v1/identities/", body=body, cast_to=dict[str, Any])["id"]
    made = client.blocks.create(
        label=mark, value="find this text", description="about finding", tags=["t1", "t2"], template_name="pattern",
        is_template=True, project_id=mark,
    )  # fmt: skip
    client.blocks.create(label=mark, value="another")
    client.patch(f"/v1/blocks/{made.id}/identities/attach/{identity}", cast_to=object)
    client.agents.create(model=MODEL, block_ids=[made.id])
    found = call(
        client.blocks.list,
        after=None,
        before=None,
        connected_to_agents_count_eq=[1],
        connected_to_agents_count_gt=0,
        connected_to_agents_count_lt=2,
        description_search="finding",
        identifier_keys=[key],
        identity_id=identity,
        label=mark,
        label_search=mark[:12],
        limit=5,
        match_all_tags=True,
        name="pattern",
        order="asc",
        order_by="created_at",
        project_id=mark,
        tags=["t1", "t2"],
        templates_only=True,
        value_search="this text",
    )
    assert [block.id for block in found] == [made.id]
    assert len(list(client.blocks.list(label=mark))) == 2
    assert list(client.blocks.list(label=mark, connected_to_agents_count_gt=1)) == []


def test_block_is_shared_between_agents(client: Letta, agent: AgentState) -> None:
    other = client.agents.create(model=MODEL)
    block = client.blocks.create(label="team", value="blue")
    for one in (agent, other, other):
        attached = call(client.agents.blocks.attach, block_id=block.id, agent_id=one.id)
        assert [found.id for found in attached.blocks].count(block.id) == 1
    users = call(
        client.blocks.agents.list, block_id=block.id, after=None, before=None, include=["agent.blocks"],
        include_relationships=None, limit=10, order="asc", order_by="created_at",
    )  # fmt: skip
    assert [one.id for one in users] == [agent.id, other.id]
    client.agents.blocks.update("team", agent_id=agent.id, value="red")
    assert client.agents.blocks.retrieve("team", agent_id=other.id).value == "red"
    detached = call(client.agents.blocks.detach, block_id=block.id, agent_id=agent.id)
    assert block.id not in [found.id for found in detached.blocks]
    with pytest.raises(NotFoundError):
        client.agents.blocks.retrieve("team", agent_id=agent.id)


def test_two_blocks_of_one_label_do_not_fit_one_agent(client: Letta, agent: AgentState) -> None:
    block = client.blocks.create(label="human", value="another")
    with pytest.raises(APIStatusError) as refused:
        client.agents.blocks.attach(block.id, agent_id=agent.id)
    assert refused.value.status_code in (409, 422)
    assert "human" in str(refused.value.body)


def test_agents_block_changes_by_label_with_every_field(client: Letta, agent: AgentState) -> None:
    call(client.agents.blocks.update, block_label="human", agent_id=agent.id, **CHANGED)
    kept = plain(client.agents.blocks.retrieve("renamed", agent_id=agent.id))
    assert {name: kept[name] for name in CHANGED} == CHANGED
    listed = call(
        client.agents.blocks.list, agent_id=agent.id, after=None, before=None, limit=10, order="asc",
        order_by="created_at",
    )  # fmt: skip
    assert {block.label for block in listed} == {"renamed", "persona"}


def test_block_over_its_limit_is_refused_and_nothing_changes(client: Letta, agent: AgentState) -> None:
    client.agents.blocks.update("human", agent_id=agent.id, limit=10)
    with pytest.raises(APIStatusError) as refused:
        client.agents.blocks.update("human", agent_id=agent.id, value="x" * 11, description="lost")
    assert refused.value.status_code == 422
    assert "10" in str(refused.value.body)
    kept = client.agents.blocks.retrieve("human", agent_id=agent.id)
    assert (kept.value, kept.description) != ("x" * 11, "lost")


def test_tools_are_listed_by_every_filter_and_found_by_words(client: Letta) -> None:
    [tool] = call(
        client.tools.list,
        after=None,
        before=None,
        exclude_tool_types=["custom"],
        limit=3,
        name="memory_insert",
        names=["memory_insert", "memory_replace"],
        order="asc",
        order_by="created_at",
        return_only_letta_tools=True,
        search="insert",
        tool_ids=None,
        tool_types=["letta_core", "letta_sleeptime_core", "letta_memory_core"],
    )
    assert tool.name == "memory_insert"
    assert [one.name for one in client.tools.list(tool_ids=[tool.id])] == ["memory_insert"]
    assert client.tools.retrieve(tool.id).json_schema is not None
    found = call(client.tools.search, limit=3, query="insert", search_mode="fts", tags=None, tool_types=None)
    assert "memory_insert" in [result.tool.name for result in found]


def test_built_in_tool_takes_what_any_tool_takes_and_cannot_go(client: Letta) -> None:
    tool = next(iter(client.tools.list(name="memory_rethink")))
    changed = client.tools.update(
        tool.id, description="For big changes", tags=["mine"], return_char_limit=900, default_requires_approval=False
    )
    assert (changed.description, changed.tags, changed.return_char_limit) == ("For big changes", ["mine"], 900)
    with pytest.raises(BadRequestError):
        client.tools.delete(tool.id)


def test_agent_gains_and_loses_tools(client: Letta, agent: AgentState) -> None:
    tool = next(iter(client.tools.list(name="memory_rethink")))
    for _ in range(2):
        state = call(client.agents.tools.attach, tool_id=tool.id, agent_id=agent.id)
        assert state is not None
        assert [one.id for one in state.tools].count(tool.id) == 1
    listed = call(
        client.agents.tools.list, agent_id=agent.id, after=None, before=None, limit=20, order="asc",
        order_by="created_at",
    )  # fmt: skip
    assert tool.id in [one.id for one in listed]
    state = call(client.agents.tools.detach, tool_id=tool.id, agent_id=agent.id)
    assert state is not None
    assert tool.id not in [one.id for one in state.tools]


def test_conflicts_say_not_to_retry(client: Letta, agent: AgentState) -> None:
    with pytest.raises(ConflictError) as refused:
        client.agents.messages.cancel(agent.id)
    assert refused.value.response.headers["x-should-retry"] == "false"
