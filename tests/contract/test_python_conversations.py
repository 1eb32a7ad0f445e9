"""The newest Python SDK in its strict mode: every method of `conversations`, and what they share with their agent."""

from collections.abc import Iterator
from typing import Any

import pytest
from letta_client import ConflictError, Letta, NotFoundError
from letta_client.types import AgentState
from tests.contract.calls import call, plain
from tests.contract.test_python_messages import MODEL, SHOWN, kinds


@pytest.fixture
def agent(client: Letta) -> Iterator[AgentState]:
    made = client.agents.create(model=MODEL, memory_blocks=[{"label": "human", "value": ""}])
    yield made
    client.agents.delete(made.id)


def said(client: Letta, conversation_id: str, text: str, **fields: Any) -> list[Any]:
    with client.conversations.messages.create(conversation_id, input=text, **fields) as stream:
        return list(stream)


def test_conversation_with_every_parameter_is_made_read_changed_and_deleted(client: Letta, agent: AgentState) -> None:
    settings: Any = {"provider_type": "openai", "temperature": 0.5}
    made = call(
        client.conversations.create,
        agent_id=agent.id,
        summary="Trip",
        description="To the sea",
        model="openai/gpt-4o",
        model_settings=settings,
        context_window_limit=9000,
        hidden=False,
    )
    assert plain(client.conversations.retrieve(made.id)) == plain(made)
    assert (made.agent_id, made.summary, made.description, made.model) == (
        agent.id, "Trip", "To the sea", "openai/gpt-4o",
    )  # fmt: skip
    changed = call(
        client.conversations.update,
        conversation_id=made.id,
        archived=True,
        context_window_limit=None,
        description=None,
        last_message_at="2026-01-31T12:00:00Z",
        model=None,
        model_settings=None,
        summary="Travel",
    )
    assert (changed.archived, changed.summary, changed.model, changed.context_window_limit) == (
        True, "Travel", None, None,
    )  # fmt: skip
    found = call(
        client.conversations.list,
        unset={"after"},
        agent_id=agent.id,
        archive_status="archived",
        limit=5,
        order="asc",
        order_by="last_message_at",
        summary_search="trav",
    )
    assert [plain(one) for one in found] == [plain(changed)]
    client.conversations.delete(made.id)
    with pytest.raises(NotFoundError):
        client.conversations.retrieve(made.id)


def test_messages_stream_and_are_listed_page_by_page(client: Letta, agent: AgentState) -> None:
    made = client.conversations.create(agent_id=agent.id)
    answer = call(
        client.conversations.messages.create,
        unset={"messages", "agent_id"},
        conversation_id=made.id,
        input="my name is Ada",
        streaming=True,
        stream_tokens=False,
        background=False,
        include_pings=True,
        **SHOWN,
    )
    with answer as stream:
        frames = list(stream)
    turn = ["tool_call_message", "tool_return_message", "assistant_message"]
    assert kinds(frames) == ["ping", *turn, "stop_reason", "usage_statistics"]
    pages = list(client.conversations.messages.list(made.id, limit=2))
    assert kinds(pages) == [*turn[::-1], "user_message", "system_message"]
    oldest = call(
        client.conversations.messages.list,
        unset={"before", "group_id"},
        conversation_id=made.id,
        after=pages[-1].id,
        agent_id=agent.id,
        include_err=False,
        include_return_message_types=["user_message"],
        limit=3,
        order="asc",
        order_by="created_at",
    )
    assert kinds(oldest.items) == ["user_message"]
    assert "Ada" in client.agents.blocks.retrieve("human", agent_id=agent.id).value
    assert list(client.agents.messages.list(agent.id))[1:] == []


def test_fork_goes_its_own_way(client: Letta, agent: AgentState) -> None:
    made = client.conversations.create(agent_id=agent.id)
    said(client, made.id, "echo one")
    first = list(client.conversations.messages.list(made.id))
    said(client, made.id, "echo two")
    fork = call(
        client.conversations.fork, conversation_id=made.id, agent_id=agent.id, hidden=False, message_id=first[0].id
    )
    said(client, fork.id, "echo three")
    shared = [message.id for message in first[:2]]
    mine = [message.id for message in client.conversations.messages.list(fork.id, order="asc")]
    assert mine[1:3] == shared[::-1]
    assert len(mine) == 5
    whole = client.conversations.fork("default", agent_id=agent.id)
    assert whole.agent_id == agent.id


def test_recompile_compact_and_cancel(client: Letta, agent: AgentState) -> None:
    made = client.conversations.create(agent_id=agent.id)
    for number in range(6):
        said(client, made.id, f"Story {number}: once upon a time there was a fox.")
    prompt = call(
        client.conversations.recompile,
        unset={"agent_id", "compaction_settings"},
        conversation_id=made.id,
        dry_run=True,
    )
    assert made.id in prompt
    done = call(
        client.conversations.messages.compact,
        unset={"agent_id"},
        conversation_id=made.id,
        compaction_settings={"mode": "all"},
    )
    assert done.num_messages_after < done.num_messages_before
    with pytest.raises(ConflictError):
        call(client.conversations.cancel, unset={"agent_id"}, conversation_id=made.id)
    stream = client.conversations.messages.create(made.id, input="!wait 30 hello")
    ping: Any = next(iter(stream))
    assert client.conversations.cancel(made.id) == {ping.run_id: "cancelled"}
    assert kinds(stream) == ["stop_reason"]


def test_own_thread_is_default(client: Letta, agent: AgentState) -> None:
    said(client, "default", "echo hi", agent_id=agent.id)
    assert kinds(client.conversations.messages.list("default", agent_id=agent.id, order="asc")) == [
        "system_message", "user_message", "assistant_message",
    ]  # fmt: skip
    assert client.conversations.recompile("default", agent_id=agent.id)
    with pytest.raises(ConflictError):
        client.conversations.cancel("default", agent_id=agent.id)
