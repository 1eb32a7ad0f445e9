"""One run of an agent, seen from outside: what is answered, stored, and shown to the model."""

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest
from tests.serving import Served, serve

from letta.errors import ModelRateLimit
from letta.models.protocol import ModelRequest
from letta.models.scripted import Call, Think

HUMAN = [{"label": "human", "value": "Name: Bob", "limit": 100}]


def kinds(messages: list[dict[str, Any]]) -> list[str]:
    return [message["message_type"] for message in messages]


def seen(request: ModelRequest) -> list[str]:
    return [f"{message.role}: {message.text}" for message in request.messages if message.text]


async def test_reply_is_stored_with_its_question_and_shown_in_order(tmp_path: Path) -> None:
    async with serve(tmp_path, ["Hello Bob!"]) as served:
        agent = await served.agent()
        answer = await served.send(agent["id"], "hi")
        listed = (await served.http.get(f"/v1/agents/{agent['id']}/messages")).json()
    assert kinds(answer["messages"]) == ["assistant_message"]
    assert answer["stop_reason"] == {"message_type": "stop_reason", "stop_reason": "end_turn"}
    assert kinds(listed) == ["system_message", "user_message", "assistant_message"]
    assert listed[2] == answer["messages"][0]


async def test_model_sees_every_earlier_turn_and_the_newest_memory(tmp_path: Path) -> None:
    script = [Call("memory_replace", {"label": "human", "old_string": "Bob", "new_string": "Alice"}), "Noted.", "Yes."]
    async with serve(tmp_path, script) as served:
        agent = await served.agent(memory_blocks=HUMAN)
        await served.send(agent["id"], "I am Alice")
        await served.send(agent["id"], "Right?")
        first, second, third = served.model.requests
    assert "Name: Bob" in "\n".join(first.system)
    assert "Name: Alice" in "\n".join(second.system)
    assert seen(third) == ["user: I am Alice", "assistant: Noted.", "user: Right?"]


async def test_prompt_before_the_changed_block_stays_the_same(tmp_path: Path) -> None:
    script = [Call("memory_insert", {"label": "human", "new_string": "Likes tea."}), "Done."]
    async with serve(tmp_path, script) as served:
        agent = await served.agent(memory_blocks=[{"label": "persona", "value": "Kind."}, *HUMAN])
        await served.send(agent["id"], "I like tea")
        first, second = ("\n\n".join(request.system) for request in served.model.requests)
    changed = first.index("<human>")
    assert first[:changed] == second[:changed]
    assert first != second


async def test_failed_tool_is_data_for_the_model_and_its_edits_are_undone(tmp_path: Path) -> None:
    script = [
        [Call("memory_insert", {"label": "human", "new_string": "x" * 200}), Call("no_such_tool", {})],
        "I could not.",
    ]
    async with serve(tmp_path, script) as served:
        agent = await served.agent(memory_blocks=HUMAN, parallel_tool_calls=True)
        answer = await served.send(agent["id"], "go")
        block = (await served.http.get(f"/v1/agents/{agent['id']}/core-memory/blocks/human")).json()
        returned = served.model.requests[1].messages[-1].tool_returns
    assert kinds(answer["messages"]) == ["tool_call_message", "tool_return_message", "assistant_message"]
    assert [result.status for result in returned] == ["error", "error"]
    assert "its limit is 100" in str(returned[0].content)
    assert "there is no tool called 'no_such_tool'" in str(returned[1].content)
    assert block["value"] == "Name: Bob"


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ('{"label": human', "expected a value at character 11"),
        ("{broken", "the text ends after the name 'broken'"),
        ('{"label": "human", "new_string": "the pin is 12', "the text ends inside a string"),
        ('{"label": "human", "new_string": "x", "insert_line": 1e999}', "the number 1e999 is too large"),
    ],
)
async def test_broken_arguments_get_a_precise_error(tmp_path: Path, written: str, why: str) -> None:
    async with serve(tmp_path, [Call("memory_insert", written), "Sorry."]) as served:
        agent = await served.agent(memory_blocks=HUMAN)
        answer = await served.send(agent["id"], "go")
        block = (await served.http.get(f"/v1/agents/{agent['id']}/core-memory/blocks/human")).json()
    assert answer["messages"][1]["status"] == "error"
    assert "not valid JSON" in answer["messages"][1]["tool_return"]
    assert why in answer["messages"][1]["tool_return"]
    assert block["value"] == "Name: Bob"


async def test_parallel_calls_are_one_message_and_answered_in_order(tmp_path: Path) -> None:
    calls = [Call("memory_insert", {"label": "human", "new_string": word}) for word in ("one", "two")]
    async with serve(tmp_path, [calls, "Both."]) as served:
        agent = await served.agent(memory_blocks=HUMAN, parallel_tool_calls=True)
        answer = await served.send(agent["id"], "go")
        block = (await served.http.get(f"/v1/agents/{agent['id']}/core-memory/blocks/human")).json()
    called, returned, _ = answer["messages"]
    assert [call["tool_call_id"] for call in called["tool_calls"]] == [
        result["tool_call_id"] for result in returned["tool_returns"]
    ]
    assert block["value"] == "Name: Bob\none\ntwo"


@pytest.mark.parametrize(
    "settings",
    [
        {"parallel_tool_calls": False},
        {"model_settings": {"provider_type": "openai", "parallel_tool_calls": False}},
    ],
    ids=["agent", "its settings"],
)
async def test_of_parallel_calls_that_the_agent_forbids_the_first_one_is_made(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    calls = [Call("memory_insert", {"label": "human", "new_string": word}) for word in ("one", "two")]
    async with serve(tmp_path, [calls, "One."]) as served:
        agent = await served.agent(memory_blocks=HUMAN, **settings)
        answer = await served.send(agent["id"], "go")
        block = (await served.http.get(f"/v1/agents/{agent['id']}/core-memory/blocks/human")).json()
        first = served.model.requests[0]
    results = answer["messages"][1]["tool_returns"]
    assert first.parameters.parallel_tool_calls is False
    assert [result["status"] for result in results] == ["success", "error"]
    assert results[1]["tool_return"].startswith("Error: you can make one call at a time. This one was not made")
    assert block["value"] == "Name: Bob\none"


async def test_steps_are_limited(tmp_path: Path) -> None:
    again = Call("conversation_search", {"query": "tea"})
    async with serve(tmp_path, [again] * 5) as served:
        agent = await served.agent()
        answer = await served.send(agent["id"], "go", max_steps=2)
        run = (await served.http.get(f"/v1/runs/{answer['usage']['run_ids'][0]}")).json()
    assert answer["stop_reason"]["stop_reason"] == "max_steps"
    assert answer["usage"]["step_count"] == 2
    assert (run["status"], run["stop_reason"]) == ("completed", "max_steps")


async def test_failing_model_leaves_the_transcript_as_it_was(tmp_path: Path) -> None:
    async with serve(tmp_path, [ModelRateLimit("slow down", retry_after=7), "Back again."]) as served:
        agent = await served.agent()
        failed = await served.http.post(f"/v1/agents/{agent['id']}/messages", json={"input": "one"})
        await served.send(agent["id"], "two")
        listed = (await served.http.get(f"/v1/agents/{agent['id']}/messages")).json()
        runs = (await served.http.get("/v1/runs/", params={"agent_id": agent["id"], "order": "asc"})).json()
        steps = (await served.http.get(f"/v1/runs/{runs[0]['id']}/steps")).json()
    assert (failed.status_code, failed.headers["retry-after"]) == (429, "7")
    assert failed.json() == {"error": {"type": "llm_rate_limit", "message": "slow down", "detail": None}}
    assert [message["content"] for message in listed[1:]] == ["two", "Back again."]
    assert [(run["status"], run["stop_reason"]) for run in runs] == [
        ("failed", "llm_api_error"),
        ("completed", "end_turn"),
    ]
    assert [(step["status"], step["error_type"]) for step in steps] == [("failed", "llm_rate_limit")]


async def test_eight_messages_at_once_are_answered_one_after_the_other(served: Served) -> None:
    agent = await served.agent()
    texts = [f"message {number}" for number in range(8)]
    answers = await asyncio.gather(*(served.send(agent["id"], text) for text in texts))
    assert [answer["stop_reason"]["stop_reason"] for answer in answers] == ["end_turn"] * 8
    for number, request in enumerate(served.model.requests):
        said = [message.text for message in request.messages if message.role == "user"]
        assert len(said) == number + 1
        assert set(said) <= set(texts)


async def test_agents_work_side_by_side(tmp_path: Path) -> None:
    both_started = asyncio.Barrier(2)

    async def meet(request: ModelRequest) -> str:
        async with asyncio.timeout(5):
            await both_started.wait()
        return "met"

    async with serve(tmp_path, [meet, meet]) as served:
        agents = [await served.agent() for _ in range(2)]
        answers = await asyncio.gather(*(served.send(agent["id"], "go") for agent in agents))
    assert [answer["messages"][0]["content"] for answer in answers] == ["met", "met"]


async def test_thinking_is_shown_as_reasoning_and_sent_back(tmp_path: Path) -> None:
    async with serve(tmp_path, [[Think("Let me see."), "42"], "ok"]) as served:
        agent = await served.agent()
        answer = await served.send(agent["id"], "go")
        await served.send(agent["id"], "thanks")
        parts = served.model.requests[1].messages[1].parts
    assert kinds(answer["messages"]) == ["reasoning_message", "assistant_message"]
    assert answer["messages"][0]["reasoning"] == "Let me see."
    assert [part.type for part in parts] == ["reasoning", "text"]


async def test_override_system_holds_for_one_request(served: Served) -> None:
    agent = await served.agent(system="You are a pirate.")
    await served.send(agent["id"], "one", override_system="You are a poet.")
    await served.send(agent["id"], "two")
    first, second = served.model.requests
    assert first.system == ("You are a poet.",)
    assert second.system[0] == "You are a pirate."


async def test_autoclear_empties_the_window_and_keeps_the_history(served: Served) -> None:
    agent = await served.agent(message_buffer_autoclear=True)
    await served.send(agent["id"], "one")
    await served.send(agent["id"], "two")
    listed = (await served.http.get(f"/v1/agents/{agent['id']}/messages")).json()
    assert [message.text for message in served.model.requests[1].messages] == ["two"]
    assert len(listed) == 5


async def test_trace_holds_the_exact_request_and_answer(tmp_path: Path) -> None:
    async with serve(tmp_path, ["Hi."]) as served:
        agent = await served.agent()
        answer = await served.send(agent["id"], "hello")
        trace = (await served.http.get(f"/v1/steps/{answer['messages'][0]['step_id']}/trace")).json()
    assert trace["request_json"]["messages"][-1]["role"] == "user"
    assert "hello" in orjson.dumps(trace["request_json"]["messages"][-1]).decode()
    assert trace["response_json"]["text"] == "Hi."


@pytest.mark.parametrize("agent_type", ["memgpt_agent", "memgpt_v2_agent"])
async def test_heartbeat_agent_replies_through_send_message(tmp_path: Path, agent_type: str) -> None:
    insert = {"thinking": "I note it.", "request_heartbeat": True}
    edit: dict[str, Any] = (
        {"label": "human", "content": "Likes tea."}
        if agent_type == "memgpt_agent"
        else {"label": "human", "new_string": "Likes tea."}
    )
    name = "core_memory_append" if agent_type == "memgpt_agent" else "memory_insert"
    script = [Call(name, {**insert, **edit}), Call("send_message", {"thinking": "Reply.", "message": "Noted!"})]
    async with serve(tmp_path, script) as served:
        agent = await served.agent(agent_type=agent_type, memory_blocks=HUMAN)
        answer = await served.send(agent["id"], "I like tea")
        plain = await served.http.get(
            f"/v1/agents/{agent['id']}/messages", params={"use_assistant_message": "false", "limit": 2}
        )
        second = served.model.requests[1]
    assert [(m["message_type"], m.get("content") or m.get("reasoning")) for m in answer["messages"]] == [
        ("reasoning_message", "I note it."),
        ("tool_call_message", None),
        ("tool_return_message", None),
        ("reasoning_message", "Reply."),
        ("assistant_message", "Noted!"),
    ]
    assert answer["stop_reason"]["stop_reason"] == "tool_rule"
    assert kinds(plain.json()) == ["reasoning_message", "tool_call_message", "tool_return_message"]
    assert '"type":"heartbeat"' in second.messages[-1].text
    assert {"thinking", "message"} <= set(
        next(t for t in second.tools if t.name == "send_message").parameters["required"]
    )


async def test_heartbeat_agent_that_calls_no_tool_stops_with_an_error_reason(tmp_path: Path) -> None:
    async with serve(tmp_path, ["just text"]) as served:
        agent = await served.agent(agent_type="memgpt_agent")
        answer = await served.send(agent["id"], "hi")
        run = (await served.http.get(f"/v1/runs/{answer['usage']['run_ids'][0]}")).json()
    assert answer["stop_reason"]["stop_reason"] == "no_tool_call"
    assert run["status"] == "failed"


async def test_heartbeat_agent_sees_its_own_error_and_goes_on(tmp_path: Path) -> None:
    script = [
        Call("core_memory_append", {"thinking": "-", "label": "nothing", "content": "x", "request_heartbeat": False}),
        Call("send_message", {"thinking": "-", "message": "There is no such block."}),
    ]
    async with serve(tmp_path, script) as served:
        agent = await served.agent(agent_type="memgpt_agent", memory_blocks=HUMAN)
        answer = await served.send(agent["id"], "go")
    assert answer["messages"][-1]["content"] == "There is no such block."


async def test_streamed_pieces_add_up_to_the_stored_messages(tmp_path: Path) -> None:
    script = [[Think("Hm."), "One moment. ", Call("conversation_search", {"query": "tea"})], "Here you are."]
    async with serve(tmp_path, script) as served:
        agent = await served.agent()
        body = {"input": "go", "streaming": True, "stream_tokens": True, "include_pings": False}
        text = (await served.http.post(f"/v1/agents/{agent['id']}/messages", json=body)).text
        listed = (await served.http.get(f"/v1/agents/{agent['id']}/messages")).json()[2:]
    frames = [orjson.loads(line[6:]) for line in text.split("\n\n")[:-2]]
    assert text.endswith("data: [DONE]\n\n")
    assert kinds(frames[-2:]) == ["stop_reason", "usage_statistics"]
    joined: dict[str, dict[str, Any]] = {}
    for piece in frames[:-2]:
        whole = joined.setdefault(piece["otid"], {**piece, "text": ""})
        call = piece.get("tool_call") or {}
        whole["text"] += piece.get("content") or piece.get("reasoning") or call.get("arguments") or ""
    expected = [
        message.get("content") or message.get("reasoning") or message.get("tool_call", {}).get("arguments") or ""
        for message in listed
    ]
    assert list(joined) == [message["otid"] for message in listed]
    assert [whole["text"] for whole in joined.values()] == expected


async def test_structured_answers_of_heartbeat_agents_go_through_the_reply_tool(tmp_path: Path) -> None:
    schema = {"type": "object", "properties": {"mood": {"type": "string"}}, "required": ["mood"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "mood", "schema": schema}}
    script = [Call("send_message", {"thinking": "-", "message": {"mood": "good"}})]
    async with serve(tmp_path, script) as served:
        agent = await served.agent(agent_type="memgpt_v2_agent", response_format=wanted)
        answer = await served.send(agent["id"], "How are you?")
        [request] = served.model.requests
    reply = next(tool for tool in request.tools if tool.name == "send_message")
    assert reply.parameters["properties"]["message"] == schema
    assert request.parameters.response_format is None
    assert answer["messages"][-1]["content"] == '{"mood":"good"}'


async def test_response_format_reaches_the_model_of_native_agents(served: Served) -> None:
    agent = await served.agent(response_format={"type": "json_object"})
    answer = await served.send(agent["id"], "How are you?")
    assert served.model.requests[0].parameters.response_format == {"type": "json_object"}
    assert isinstance(orjson.loads(answer["messages"][-1]["content"]), dict)


async def test_images_reach_the_model_and_are_listed(served: Served) -> None:
    agent = await served.agent()
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGVsbG8="}}
    content = [{"type": "text", "text": "What is this?"}, image]
    body = {"messages": [{"role": "user", "content": content}]}
    answer = await served.http.post(f"/v1/agents/{agent['id']}/messages", json=body)
    listed = (await served.http.get(f"/v1/agents/{agent['id']}/messages")).json()
    assert answer.status_code == 200
    assert [part.type for part in served.model.requests[0].messages[0].parts] == ["text", "image"]
    assert listed[1]["content"][1]["source"]["data"] == "aGVsbG8="
