"""Conversations over HTTP: as data, as threads that share a memory, and the three ways to name one."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.serving import Served, serve

from letta.models.scripted import Call

UNKNOWN = "conv-00000000-0000-4000-8000-000000000000"
NOBODY = "agent-00000000-0000-4000-8000-000000000000"
HUMAN = [{"label": "human", "value": "Bob"}, {"label": "persona", "value": "Kind"}]


async def conversation(served: Served, agent_id: str, **fields: Any) -> dict[str, Any]:
    answer = await served.http.post("/v1/conversations/", params={"agent_id": agent_id}, json=fields)
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def say(served: Served, conversation_id: str, text: str, **fields: Any) -> dict[str, Any]:
    body = {"input": text, "streaming": False, **fields}
    answer = await served.http.post(f"/v1/conversations/{conversation_id}/messages", json=body)
    assert answer.status_code == 200, answer.text
    said: dict[str, Any] = answer.json()
    return said


async def listed(served: Served, conversation_id: str, **query: Any) -> list[dict[str, Any]]:
    answer = await served.http.get(f"/v1/conversations/{conversation_id}/messages", params=query)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()
    return found


async def texts(served: Served, conversation_id: str, **query: Any) -> list[str]:
    """What was said, oldest first, without the prompt."""
    found = await listed(served, conversation_id, order="asc", **query)
    return [message["content"] for message in found if message["message_type"] in ("user_message", "assistant_message")]


async def ids(served: Served, **query: Any) -> list[str]:
    return [one["id"] for one in (await served.http.get("/v1/conversations/", params=query)).json()]


# -- as data -----------------------------------------------------------------------------------------------------------


async def test_conversation_is_made_read_changed_and_deleted(served: Served) -> None:
    agent = await served.agent()
    made = await conversation(served, agent["id"], summary="Trip", model="letta/scripted", context_window_limit=9000)
    path = f"/v1/conversations/{made['id']}"
    kept = (await served.http.get(path)).json()
    changed = (await served.http.patch(path, json={"summary": "Travel", "model": None, "archived": True})).json()
    deleted = await served.http.delete(path)
    assert made == kept == {
        "id": made["id"], "agent_id": agent["id"], "summary": "Trip", "description": None, "model": "letta/scripted",
        "model_settings": None, "context_window_limit": 9000, "in_context_message_ids": [], "isolated_block_ids": [],
        "hidden": False, "archived": False, "archived_at": None, "last_message_at": None,
        "created_at": made["created_at"], "updated_at": made["created_at"], "created_by_id": None,
        "last_updated_by_id": None,
    }  # fmt: skip
    assert changed == {
        **made, "summary": "Travel", "model": None, "archived": True, "archived_at": changed["archived_at"],
        "updated_at": changed["updated_at"],
    }  # fmt: skip
    assert changed["archived_at"] is not None
    assert (deleted.status_code, deleted.json()) == (200, None)
    for answer in (
        await served.http.get(path),
        await served.http.patch(path, json={"summary": "x"}),
        await served.http.get(f"{path}/messages"),
        await served.http.post(f"{path}/messages", json={"input": "hi"}),
        await served.http.post(f"{path}/fork"),
        await served.http.delete(path),
    ):
        assert answer.status_code == 404, answer.text
    assert await ids(served, agent_id=agent["id"], archive_status="all") == []


async def test_list_is_filtered_sorted_and_paged(served: Served) -> None:
    agent, other = await served.agent(), await served.agent()
    first, second, third = [
        (await conversation(served, agent["id"], summary=text))["id"] for text in ("Red 100%", "Green", "Blue")
    ]
    elsewhere = (await conversation(served, other["id"]))["id"]
    hidden = (await conversation(served, agent["id"], hidden=True))["id"]
    await say(served, second, "hello")
    await say(served, first, "hello")
    mine = {"agent_id": agent["id"]}
    assert await ids(served) == [elsewhere, third, second, first]
    assert await ids(served, **mine) == [third, second, first]
    assert await ids(served, **mine, order="asc", limit=2) == [first, second]
    assert await ids(served, **mine, after=third) == [second, first]
    assert await ids(served, **mine, order_by="last_message_at") == [first, second, third]
    assert await ids(served, **mine, order_by="last_run_completion", order="asc") == [second, first, third]
    assert await ids(served, **mine, order_by="last_run_completion", after=first) == [second, third]
    assert await ids(served, **mine, summary_search="e") == [third, second, first]
    assert await ids(served, **mine, summary_search="100%") == [first]
    assert await ids(served, **mine, show_hidden_conversations=True) == [hidden, third, second, first]
    await served.http.patch(f"/v1/conversations/{third}", json={"archived": True})
    assert await ids(served, **mine) == [second, first]
    assert await ids(served, **mine, archive_status="archived") == [third]
    assert await ids(served, **mine, archive_status="all") == [third, second, first]
    await served.http.patch(f"/v1/conversations/{third}", json={"archived": False})
    assert await ids(served, **mine) == [third, second, first]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "says"),
    [
        ("POST", "/v1/conversations/", {}, 422, "agent_id"),
        ("POST", f"/v1/conversations/?agent_id={NOBODY}", {}, 404, "agent"),
        ("POST", "/v1/conversations/?agent_id={agent}", {"context_window_limit": 0}, 422, "context_window_limit"),
        ("POST", "/v1/conversations/?agent_id={agent}", {"isolated_block_labels": ["x"]}, 422, "human, persona"),
        ("GET", f"/v1/conversations/?agent_id={NOBODY}", None, 404, "agent"),
        ("GET", f"/v1/conversations/?after={UNKNOWN}", None, 404, "cursor"),
        ("GET", "/v1/conversations/?order_by=summary", None, 422, "order_by"),
        ("GET", f"/v1/conversations/{UNKNOWN}", None, 404, UNKNOWN),
        ("GET", "/v1/conversations/conv-1", None, 422, "conversation_id"),
        ("GET", "/v1/conversations/default/messages", None, 422, "agent_id"),
        ("PATCH", "/v1/conversations/{agent}", {"summary": "x"}, 422, "conversation_id"),
        ("POST", f"/v1/conversations/{UNKNOWN}/messages", {"input": "hi"}, 404, UNKNOWN),
        ("POST", "/v1/conversations/default/messages", {"input": "hi"}, 422, "agent_id"),
        ("POST", "/v1/conversations/default/messages", {"input": "hi", "agent_id": "x"}, 404, "agent x not found"),
        ("POST", "/v1/conversations/{agent}/messages", {"input": "hi", "agent_id": NOBODY}, 422, "agent_id"),
        ("POST", "/v1/conversations/{conv}/messages", {"input": "hi", "agent_id": NOBODY}, 404, "not found for agent"),
        ("POST", "/v1/conversations/{conv}/messages", {"messages": []}, 422, "messages"),
        ("POST", "/v1/conversations/{conv}/fork?message_id=message-1", None, 404, "message-1"),
        ("POST", "/v1/conversations/{conv}/cancel", None, 409, "No active runs"),
        ("GET", "/v1/agents/{other}/messages?conversation_id={conv}", None, 404, "not found for agent"),
    ],
)
async def test_wrong_requests_say_what_is_wrong(
    served: Served, method: str, path: str, body: Any, status: int, says: str
) -> None:
    agent, other = (await served.agent(memory_blocks=HUMAN))["id"], (await served.agent())["id"]
    conv = (await conversation(served, agent))["id"]
    answer = await served.http.request(method, path.format(agent=agent, other=other, conv=conv), json=body)
    assert (answer.status_code, says in answer.text) == (status, True), answer.text


# -- threads of one agent ----------------------------------------------------------------------------------------------


async def test_threads_keep_apart_what_was_said_and_share_the_memory(served: Served) -> None:
    agent = await served.agent(memory_blocks=[{"label": "human", "value": ""}])
    one, two = [(await conversation(served, agent["id"]))["id"] for _ in range(2)]
    await say(served, one, "My name is Alice.")
    answer = await say(served, two, "What is my name?")
    assert "Alice" in answer["messages"][-1]["content"]
    assert (await texts(served, one))[0] == "My name is Alice."
    assert (await texts(served, two))[0] == "What is my name?"
    assert await texts(served, "default", agent_id=agent["id"]) == []
    kinds = [message["message_type"] for message in await listed(served, one, order="asc")]
    assert kinds == ["system_message", "user_message", "tool_call_message", "tool_return_message", "assistant_message"]
    prompt = (await listed(served, two, order="asc"))[0]["content"]
    assert f"CONVERSATION_ID: {two}" in prompt
    assert "Alice" in prompt


async def test_nothing_is_listed_before_the_first_message(served: Served) -> None:
    agent = await served.agent()
    made = await conversation(served, agent["id"])
    before = await listed(served, made["id"])
    await say(served, made["id"], "echo hi")
    after = await listed(served, made["id"], order="asc")
    shown = (await served.http.get(f"/v1/conversations/{made['id']}")).json()
    assert before == []
    assert [message["message_type"] for message in after] == ["system_message", "user_message", "assistant_message"]
    assert shown["in_context_message_ids"] == [message["id"] for message in after]
    assert shown["last_message_at"] is not None


async def test_pages_follow_the_order_of_the_list(served: Served) -> None:
    agent = await served.agent()
    conv = (await conversation(served, agent["id"]))["id"]
    for number in range(3):
        await say(served, conv, f"echo {number}")
    everything = [message["id"] for message in await listed(served, conv, order="asc")]
    newest = [message["id"] for message in await listed(served, conv, limit=2)]
    older = [message["id"] for message in await listed(served, conv, limit=2, after=newest[-1])]
    newer = [message["id"] for message in await listed(served, conv, limit=2, before=older[0])]
    assert [newest, older] == [everything[:-3:-1], everything[-3:-5:-1]]
    assert newer == newest
    assert await listed(served, conv, after=everything[0]) == []
    assert [m["id"] for m in await listed(served, conv, order="asc", after=everything[4])] == everything[5:]
    only = await listed(served, conv, include_return_message_types=["assistant_message"])
    assert {message["message_type"] for message in only} == {"assistant_message"}
    own = await served.http.get(f"/v1/agents/{agent['id']}/messages", params={"conversation_id": conv, "limit": 2})
    assert [message["id"] for message in own.json()] == everything[-2:]
    every = await served.http.get("/v1/messages/", params={"conversation_id": conv})
    assert [message["id"] for message in every.json()] == everything


async def test_own_thread_answers_to_default_and_to_the_agents_id(served: Served) -> None:
    agent = await served.agent()
    await say(served, "default", "echo one", agent_id=agent["id"])
    await say(served, agent["id"], "echo two")
    await served.send(agent["id"], "echo three")
    spoken = ["echo one", "one", "echo two", "two", "echo three", "three"]
    assert await texts(served, "default", agent_id=agent["id"]) == spoken
    assert await texts(served, agent["id"]) == spoken
    shown = (await served.http.get(f"/v1/conversations/{agent['id']}")).json()
    assert (shown["id"], shown["agent_id"]) == (agent["id"], agent["id"])
    assert len(shown["in_context_message_ids"]) == 7
    prompt = await served.http.post("/v1/conversations/default/recompile", json={"agent_id": agent["id"]})
    assert agent["id"] in prompt.json()


async def test_messages_stream_unless_json_is_asked_for(served: Served) -> None:
    agent = await served.agent()
    conv = (await conversation(served, agent["id"]))["id"]
    path = f"/v1/conversations/{conv}/messages"
    streamed = await served.http.post(path, json={"input": "echo hi"})
    refused = await served.http.post(path, json={"input": "hi", "streaming": False, "stream_tokens": True})
    frames = [json.loads(line[6:]) for line in streamed.text.splitlines() if line.startswith("data: {")]
    assert streamed.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert [frame["message_type"] for frame in frames] == [
        "ping", "assistant_message", "stop_reason", "usage_statistics",
    ]  # fmt: skip
    assert streamed.text.endswith("data: [DONE]\n\n")
    assert (refused.status_code, "streaming=true" in refused.text) == (422, True)


async def test_runs_search_and_report_know_the_conversation(served: Served) -> None:
    agent = await served.agent()
    one, two = [(await conversation(served, agent["id"]))["id"] for _ in range(2)]
    await say(served, one, "echo cinnamon")
    await say(served, two, "echo cinnamon too")
    found = (await served.http.get("/v1/runs/", params={"conversation_id": one})).json()
    body = {"query": "cinnamon", "agent_id": agent["id"], "conversation_id": one}
    hits = (await served.http.post("/v1/messages/search", json=body)).json()
    report = (await served.http.get(f"/v1/agents/{agent['id']}/context", params={"conversation_id": one})).json()
    assert [run["conversation_id"] for run in found] == [one]
    assert {hit["conversation_id"] for hit in hits} == {one}
    assert report["num_messages"] == 3
    assert f"CONVERSATION_ID: {one}" in report["system_prompt"]


# -- settings of a conversation ----------------------------------------------------------------------------------------


async def test_conversation_has_its_own_model_and_settings_until_they_are_cleared(tmp_path: Path) -> None:
    async with serve(tmp_path) as served:
        agent = await served.agent()
        settings = {"provider_type": "openai", "temperature": 0.25}
        made = await conversation(served, agent["id"], model="openai/gpt-4o", model_settings=settings)
        path = f"/v1/conversations/{made['id']}"
        await say(served, made["id"], "hello")
        await say(served, made["id"], "hello", override_model="letta/scripted")
        cleared = (await served.http.patch(path, json={"model": None, "model_settings": None})).json()
        await say(served, made["id"], "hello")
        asked = [(request.handle, request.parameters.temperature) for request in served.model.requests]
    assert (made["model"], made["model_settings"]["temperature"]) == ("openai/gpt-4o", 0.25)
    assert (cleared["model"], cleared["model_settings"]) == (None, None)
    assert asked == [("openai/gpt-4o", 0.25), ("letta/scripted", 0.25), ("letta/scripted", asked[2][1])]
    assert asked[2][1] != 0.25


async def test_model_nobody_has_is_refused_before_anything_is_stored(tmp_path: Path) -> None:
    async with serve(tmp_path, scripted_models=False) as served:
        agent = await served.agent()
        path = f"/v1/conversations/{(await conversation(served, agent['id']))['id']}"
        made = await served.http.post("/v1/conversations/", params={"agent_id": agent["id"]}, json={"model": "no/body"})
        changed = await served.http.patch(path, json={"model": "no/body", "summary": "x"})
        kept = (await served.http.get(path)).json()
        found = await ids(served)
    assert [(answer.status_code, "no/body" in answer.text) for answer in (made, changed)] == [(404, True)] * 2
    assert (kept["model"], kept["summary"], len(found)) == (None, None, 1)


async def test_window_of_a_conversation_bounds_its_requests_and_its_report(served: Served) -> None:
    agent = await served.agent()
    made = await conversation(served, agent["id"], context_window_limit=5000)
    for number in range(12):
        await say(served, made["id"], f"Turn {number}: {'word ' * 300}")
    report = (await served.http.get(f"/v1/agents/{agent['id']}/context", params={"conversation_id": made["id"]})).json()
    assert report["context_window_size_max"] == 5000
    assert report["summary_memory"]
    assert report["context_window_size_current"] <= 5000


async def test_compaction_of_one_thread_leaves_the_others_alone(served: Served) -> None:
    agent = await served.agent(compaction_settings={"mode": "all"})
    one, two = [(await conversation(served, agent["id"]))["id"] for _ in range(2)]
    for number in range(4):
        await say(served, one, f"echo {number}")
        await say(served, two, f"echo {number}")
    before = (await served.http.get(f"/v1/conversations/{two}")).json()
    done = await served.http.post(f"/v1/conversations/{one}/compact")
    compacted = (await served.http.get(f"/v1/conversations/{one}")).json()
    after = (await served.http.get(f"/v1/conversations/{two}")).json()
    assert done.json()["num_messages_after"] < done.json()["num_messages_before"]
    assert len(compacted["in_context_message_ids"]) == done.json()["num_messages_after"]
    assert after == before


# -- isolated blocks ---------------------------------------------------------------------------------------------------


async def test_isolated_block_is_edited_in_its_conversation_only(tmp_path: Path) -> None:
    def insert(label: str, text: str) -> Call:
        return Call("memory_insert", {"label": label, "new_string": text})

    script = [[insert("human", "Tall."), insert("persona", "Calm.")], "Noted.", "Hello.", "Hello."]
    async with serve(tmp_path, script) as served:
        agent = await served.agent(memory_blocks=HUMAN)
        alone = await conversation(served, agent["id"], isolated_block_labels=["human"])
        other = await conversation(served, agent["id"])
        [copy_id] = alone["isolated_block_ids"]
        await say(served, alone["id"], "I am tall")
        await say(served, other["id"], "hi")
        await say(served, alone["id"], "hi")
        copy = (await served.http.get(f"/v1/blocks/{copy_id}")).json()
        blocks = (await served.http.get(f"/v1/agents/{agent['id']}/core-memory/blocks")).json()
        everywhere = (await served.http.get("/v1/blocks/")).json()
        history = (await served.http.get(f"/v1/blocks/{copy_id}/versions")).json()
        prompts = ["\n".join(request.system) for request in served.model.requests]
        await served.http.delete(f"/v1/conversations/{alone['id']}")
        gone = await served.http.get(f"/v1/blocks/{copy_id}")
    assert (copy["label"], copy["value"]) == ("human", "Bob\nTall.")
    assert {block["label"]: block["value"] for block in blocks} == {"human": "Bob", "persona": "Kind\nCalm."}
    assert copy_id not in [block["id"] for block in everywhere]
    assert len(history) == 2
    assert [("Tall." in prompt, "Calm." in prompt) for prompt in prompts] == [
        (False, False), (True, True), (False, True), (True, True),
    ]  # fmt: skip
    assert gone.status_code == 404


async def test_copy_is_neither_renamed_nor_taken_away_and_a_person_may_edit_it(tmp_path: Path) -> None:
    rename = Call("memory", {"command": "rename", "old_path": "/memories/human", "new_path": "/memories/person"})
    delete = Call("memory", {"command": "delete", "path": "/memories/human"})
    async with serve(tmp_path, [[rename, delete], "Well.", "Hello."]) as served:
        agent = await served.agent(memory_blocks=HUMAN, tools=["memory"])
        alone = await conversation(served, agent["id"], isolated_block_labels=["human"])
        [copy_id] = alone["isolated_block_ids"]
        answer = await say(served, alone["id"], "change it")
        renamed = await served.http.patch(f"/v1/blocks/{copy_id}", json={"label": "person"})
        await served.http.patch(f"/v1/blocks/{copy_id}", json={"value": "Eve"})
        await say(served, alone["id"], "hi")
        prompt = "\n".join(served.model.requests[-1].system)
        blocks = (await served.http.get(f"/v1/agents/{agent['id']}/core-memory/blocks")).json()
    returns = [one["tool_return"] for message in answer["messages"] for one in message.get("tool_returns", ())]
    assert "keeps its label" in returns[0]
    assert "empty it instead" in returns[1]
    assert (renamed.status_code, "keeps its label" in renamed.text) == (409, True)
    assert "Eve" in prompt
    assert sorted(block["label"] for block in blocks) == ["human", "persona"]


async def test_copies_go_with_their_agent(served: Served) -> None:
    agent = await served.agent(memory_blocks=HUMAN)
    alone = await conversation(served, agent["id"], isolated_block_labels=["human", "persona", "human"])
    assert len(alone["isolated_block_ids"]) == 2
    await served.http.delete(f"/v1/agents/{agent['id']}")
    for copy_id in alone["isolated_block_ids"]:
        assert (await served.http.get(f"/v1/blocks/{copy_id}")).status_code == 404
    assert len((await served.http.get("/v1/blocks/")).json()) == 2
