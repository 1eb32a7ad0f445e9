"""Calls that wait: for a person who allows them, or for the client that runs them."""

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest
from tests.serving import Served, serve

from letta.models.scripted import Call

HUMAN = [{"label": "human", "value": "Bob"}]
CLIENT_TOOL = {"name": "read_file", "description": "Read a file", "parameters": {"type": "object", "properties": {}}}


def insert(text: str) -> Call:
    return Call("memory_insert", {"label": "human", "new_string": text})


async def agent_with_approval(served: Served, **fields: Any) -> str:
    agent = await served.agent(memory_blocks=HUMAN, **fields)
    url = f"/v1/agents/{agent['id']}/tools/approval/memory_insert"
    changed = await served.http.patch(url, json={"requires_approval": True})
    assert changed.json()["tool_rules"] == [
        {"type": "requires_approval", "tool_name": "memory_insert", "prompt_template": None}
    ]
    agent_id: str = agent["id"]
    return agent_id


async def value(served: Served, agent_id: str) -> str:
    block = (await served.http.get(f"/v1/agents/{agent_id}/core-memory/blocks/human")).json()
    text: str = block["value"]
    return text


def approval(*answers: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"type": "approval", "approvals": list(answers), **fields}


async def post(served: Served, agent_id: str, *messages: dict[str, Any], **fields: Any) -> Any:
    return await served.http.post(f"/v1/agents/{agent_id}/messages", json={"messages": list(messages), **fields})


async def test_approved_call_runs_and_the_turn_goes_on(tmp_path: Path) -> None:
    async with serve(tmp_path, [insert("Tall."), "Noted."]) as served:
        agent_id = await agent_with_approval(served)
        asked = await served.send(agent_id, "I am tall")
        [request] = asked["messages"]
        before = await value(served, agent_id)
        state = (await served.http.get(f"/v1/agents/{agent_id}", params={"include": "agent.pending_approval"})).json()
        call_id = request["tool_call"]["tool_call_id"]
        answer = (
            await post(served, agent_id, approval({"type": "approval", "tool_call_id": call_id, "approve": True}))
        ).json()
        after = await value(served, agent_id)
        listed = (await served.http.get(f"/v1/agents/{agent_id}/messages")).json()
    assert (request["message_type"], request["otid"]) == ("approval_request_message", request["id"])
    assert asked["stop_reason"]["stop_reason"] == "requires_approval"
    assert state["pending_approval"] == request
    assert (before, after) == ("Bob", "Bob\nTall.")
    assert [message["message_type"] for message in answer["messages"]] == ["tool_return_message", "assistant_message"]
    assert [message["message_type"] for message in listed] == [
        "system_message",
        "user_message",
        "approval_request_message",
        "approval_response_message",
        "tool_return_message",
        "assistant_message",
    ]


async def test_denied_call_does_not_run_and_the_model_learns_why(tmp_path: Path) -> None:
    async with serve(tmp_path, [insert("Tall."), "All right."]) as served:
        agent_id = await agent_with_approval(served)
        asked = await served.send(agent_id, "I am tall")
        body = {
            "type": "approval",
            "approve": False,
            "approval_request_id": asked["messages"][0]["id"],
            "reason": "No.",
        }
        answer = (await post(served, agent_id, body)).json()
        after = await value(served, agent_id)
    assert answer["messages"][0]["status"] == "error"
    assert answer["messages"][0]["tool_return"] == "Error: the user denied this call. Reason: No."
    assert after == "Bob"


async def test_plain_message_while_a_call_waits_is_a_conflict(tmp_path: Path) -> None:
    async with serve(tmp_path, [insert("Tall.")]) as served:
        agent_id = await agent_with_approval(served)
        asked = await served.send(agent_id, "I am tall")
        answer = await served.http.post(f"/v1/agents/{agent_id}/messages", json={"input": "hello?"})
    assert (answer.status_code, answer.headers["x-should-retry"]) == (409, "false")
    detail = answer.json()["detail"]
    assert (detail["code"], detail["pending_request_id"]) == ("PENDING_APPROVAL", asked["messages"][0]["id"])


async def test_message_queued_before_the_call_waits_gets_the_same_conflict(tmp_path: Path) -> None:
    gate = asyncio.Event()

    async def later(request: object) -> Call:
        await gate.wait()
        return insert("Tall.")

    async with serve(tmp_path, [later]) as served:
        agent_id = await agent_with_approval(served)
        first = asyncio.create_task(served.send(agent_id, "I am tall"))
        while not served.model.requests:  # noqa: ASYNC110 - the model has no event for "was asked"
            await asyncio.sleep(0)
        second = asyncio.create_task(served.http.post(f"/v1/agents/{agent_id}/messages", json={"input": "two"}))
        async with asyncio.timeout(5):
            while len((await served.http.get("/v1/runs/")).json()) < 2:  # noqa: ASYNC110 - seen over HTTP only
                await asyncio.sleep(0)
        gate.set()
        await first
        answer = await second
    assert answer.status_code == 409
    assert answer.json()["detail"]["code"] == "PENDING_APPROVAL"


async def test_parallel_calls_wait_together_and_are_answered_one_by_one(tmp_path: Path) -> None:
    search = Call("conversation_search", {"query": "tall"})
    async with serve(tmp_path, [[insert("A"), search, insert("B")], "Done."]) as served:
        agent_id = await agent_with_approval(served, parallel_tool_calls=True)
        asked = await served.send(agent_id, "go")
        calls = next(m for m in asked["messages"] if m["message_type"] == "approval_request_message")["tool_calls"]
        answers = [
            {"type": "approval", "tool_call_id": call["tool_call_id"], "approve": approve}
            for call, approve in zip(calls, (False, True), strict=True)
        ]
        missing = await post(served, agent_id, approval(answers[0]))
        answer = (await post(served, agent_id, approval(*answers), {"role": "user", "content": "and hurry"})).json()
        after = await value(served, agent_id)
        last = served.model.requests[-1].messages
    assert missing.status_code == 400
    assert calls[1]["tool_call_id"] in missing.json()["detail"]
    assert [result["status"] for result in answer["messages"][0]["tool_returns"]] == ["error", "success", "success"]
    assert after == "Bob\nB"
    assert last[-1].text == "and hurry"


async def test_same_answer_twice_is_harmless(tmp_path: Path) -> None:
    async with serve(tmp_path, [insert("Tall."), "Noted."]) as served:
        agent_id = await agent_with_approval(served)
        asked = await served.send(agent_id, "I am tall")
        body = approval(
            {"type": "approval", "tool_call_id": asked["messages"][0]["tool_call"]["tool_call_id"], "approve": True}
        )
        await post(served, agent_id, body)
        again = await post(served, agent_id, body)
        after = await value(served, agent_id)
        strange = await post(
            served, agent_id, approval({"type": "approval", "tool_call_id": "call_x", "approve": True})
        )
    assert (again.status_code, again.json()["messages"]) == (200, [])
    assert after == "Bob\nTall."
    assert strange.status_code == 400
    assert len(served.model.requests) == 2


Decide = tuple[bool, str | None]


def decided(call_id: str, decision: Decide) -> dict[str, Any]:
    approve, reason = decision
    return approval({"type": "approval", "tool_call_id": call_id, "approve": approve, "reason": reason})


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        ((False, None), (True, None), "was denied"),
        ((True, None), (False, "No."), "was approved"),
        ((False, "Too tall."), (False, "No."), "was denied with the reason 'Too tall.'"),
    ],
    ids=["denied, then approved", "approved, then denied", "denied for another reason"],
)
async def test_answer_that_contradicts_the_first_is_a_conflict_that_says_what_happened(
    tmp_path: Path, first: Decide, second: Decide, told: str
) -> None:
    async with serve(tmp_path, [insert("Tall."), "All right."]) as served:
        agent_id = await agent_with_approval(served)
        asked = await served.send(agent_id, "I am tall")
        call_id = asked["messages"][0]["tool_call"]["tool_call_id"]
        await post(served, agent_id, decided(call_id, first))
        late = await post(served, agent_id, decided(call_id, second), {"role": "user", "content": "and hurry"})
        streamed = await post(served, agent_id, decided(call_id, second), streaming=True)
        after = await value(served, agent_id)
        listed = (await served.http.get(f"/v1/agents/{agent_id}/messages")).json()
    assert (late.status_code, late.headers["x-should-retry"]) == (409, "false")
    assert late.json()["detail"].endswith(f"do not wait any more: {call_id} {told}")
    assert told.replace("'", "") in streamed.text.replace("'", "")
    assert after == ("Bob\nTall." if first[0] else "Bob")
    assert [message["message_type"] for message in listed][-1] == "assistant_message"
    assert len(served.model.requests) == 2


async def test_answer_after_the_call_was_cancelled_is_a_conflict(tmp_path: Path) -> None:
    async with serve(tmp_path, [insert("Tall.")]) as served:
        agent_id = await agent_with_approval(served)
        asked = await served.send(agent_id, "I am tall")
        await served.http.post(f"/v1/agents/{agent_id}/messages/cancel", json={})
        call_id = asked["messages"][0]["tool_call"]["tool_call_id"]
        late = [await post(served, agent_id, decided(call_id, (approve, None))) for approve in (True, False)]
        older = {"type": "approval", "approve": True, "approval_request_id": asked["messages"][0]["id"]}
        late.append(await post(served, agent_id, older))
        after = await value(served, agent_id)
    assert [answer.status_code for answer in late] == [409, 409, 409]
    told = f"these calls do not wait any more: {call_id} was cancelled before it was answered, and was not made"
    assert {answer.json()["detail"] for answer in late} == {f"messages: this answer changes nothing, {told}"}
    assert after == "Bob"


async def test_older_form_sent_twice_is_harmless_and_its_contradiction_a_conflict(tmp_path: Path) -> None:
    async with serve(tmp_path, [insert("Tall."), "Noted."]) as served:
        agent_id = await agent_with_approval(served)
        asked = await served.send(agent_id, "I am tall")
        body = {"type": "approval", "approve": True, "approval_request_id": asked["messages"][0]["id"]}
        await post(served, agent_id, body)
        again = [
            await post(served, agent_id, body),
            await post(served, agent_id, {**body, "approval_request_id": None}),
        ]
        denied = await post(served, agent_id, {**body, "approve": False})
        strange = await post(served, agent_id, {**body, "approval_request_id": "message-x"})
        after = await value(served, agent_id)
    assert [(answer.status_code, answer.json()["messages"]) for answer in again] == [(200, []), (200, [])]
    assert (denied.status_code, "was approved" in denied.json()["detail"]) == (409, True)
    assert (strange.status_code, "message-x does not wait" in strange.json()["detail"]) == (400, True)
    assert after == "Bob\nTall."


async def test_result_of_a_client_tool_sent_twice_is_harmless_and_another_one_a_conflict(tmp_path: Path) -> None:
    async with serve(tmp_path, [Call("read_file", {}), "ok"]) as served:
        agent = await served.agent()
        asked = await served.send(agent["id"], "go", client_tools=[CLIENT_TOOL])
        call_id = asked["messages"][0]["tool_call"]["tool_call_id"]
        parts = [{"type": "text", "text": "hi"}]
        result = {"type": "tool", "tool_call_id": call_id, "tool_return": parts, "status": "success", "stdout": ["x"]}
        await post(served, agent["id"], approval(result))
        again = await post(served, agent["id"], approval(result))
        other = await post(served, agent["id"], approval({**result, "tool_return": "ho"}))
    assert (again.status_code, again.json()["messages"]) == (200, [])
    assert (other.status_code, "was answered with another result (success)" in other.json()["detail"]) == (409, True)


async def test_cancel_closes_what_waits(tmp_path: Path) -> None:
    async with serve(tmp_path, [insert("Tall."), "Hello."]) as served:
        agent_id = await agent_with_approval(served)
        asked = await served.send(agent_id, "I am tall")
        cancelled = (await served.http.post(f"/v1/agents/{agent_id}/messages/cancel", json={})).json()
        answer = await served.send(agent_id, "hello?")
        returned = served.model.requests[1].messages[-2].tool_returns
    assert cancelled == {asked["messages"][0]["run_id"]: "cancelled"}
    assert answer["messages"][0]["content"] == "Hello."
    assert [result.status for result in returned] == ["error"]


async def test_client_tool_ends_the_turn_and_its_result_continues_it(tmp_path: Path) -> None:
    async with serve(tmp_path, [Call("read_file", {"path": "a.txt"}), "It says hi."]) as served:
        agent = await served.agent()
        body = {
            "input": "read a.txt",
            "client_tools": [CLIENT_TOOL],
            "streaming": True,
            "stream_tokens": True,
            "include_pings": False,
        }
        text = (await served.http.post(f"/v1/agents/{agent['id']}/messages", json=body)).text
        frames = [orjson.loads(line[6:]) for line in text.split("\n\n")[:-2]]
        call_id = frames[0]["tool_call"]["tool_call_id"]
        result = {"type": "tool", "tool_call_id": call_id, "tool_return": "hi", "status": "success"}
        answer = (await post(served, agent["id"], approval(result), client_tools=[CLIENT_TOOL])).json()
        first, second = served.model.requests
    assert [frame["message_type"] for frame in frames[:-2]] == ["approval_request_message"] * (len(frames) - 2)
    assert frames[-2]["stop_reason"] == "requires_approval"
    assert "".join(frame["tool_calls"]["arguments"] for frame in frames[:-2]) == '{"path":"a.txt"}'
    assert "read_file" in {tool.name for tool in first.tools}
    assert second.messages[-1].tool_returns[0].content == "hi"
    assert answer["messages"][-1]["content"] == "It says hi."


async def test_client_tool_result_as_tool_return_message(tmp_path: Path) -> None:
    async with serve(tmp_path, [Call("read_file", {}), "ok"]) as served:
        agent = await served.agent()
        asked = await served.send(agent["id"], "go", client_tools=[CLIENT_TOOL])
        result = {
            "tool_call_id": asked["messages"][0]["tool_call"]["tool_call_id"],
            "tool_return": "gone",
            "status": "error",
        }
        answer = (await post(served, agent["id"], {"type": "tool_return", "tool_returns": [result]})).json()
    assert [message["message_type"] for message in answer["messages"]] == ["tool_return_message", "assistant_message"]
    assert answer["messages"][0]["status"] == "error"


async def test_waiting_call_survives_a_restart(tmp_path: Path) -> None:
    async with serve(tmp_path, [insert("Tall.")]) as served:
        agent_id = await agent_with_approval(served)
        asked = await served.send(agent_id, "I am tall")
    async with serve(tmp_path, ["Noted."]) as served:
        call_id = asked["messages"][0]["tool_call"]["tool_call_id"]
        answer = (
            await post(served, agent_id, approval({"type": "approval", "tool_call_id": call_id, "approve": True}))
        ).json()
        after = await value(served, agent_id)
    assert answer["messages"][-1]["content"] == "Noted."
    assert after == "Bob\nTall."


async def test_tool_that_asks_by_default_brings_its_rule_along(served: Served) -> None:
    [tool] = (await served.http.get("/v1/tools/", params={"name": "memory_rethink"})).json()
    await served.http.patch(f"/v1/tools/{tool['id']}", json={"default_requires_approval": True})
    made = await served.agent(tools=["memory_rethink"])
    other = await served.agent()
    attached = (await served.http.patch(f"/v1/agents/{other['id']}/tools/attach/{tool['id']}")).json()
    for agent in (made, attached):
        assert [rule["type"] for rule in agent["tool_rules"]] == ["requires_approval"]


async def tool_returns(served: Served, agent_id: str) -> list[str]:
    listed = (await served.http.get(f"/v1/agents/{agent_id}/messages")).json()
    return [one["tool_return"] for message in listed for one in message.get("tool_returns") or ()]


async def test_call_that_nobody_answers_in_time_is_closed_and_the_agent_goes_on(tmp_path: Path) -> None:
    async with serve(tmp_path, [insert("Tall."), "Hello."], approval_timeout=0.2) as served:
        agent_id = await agent_with_approval(served)
        asked = await served.send(agent_id, "I am tall")
        async with asyncio.timeout(10):
            while not (closed := await tool_returns(served, agent_id)):  # noqa: ASYNC110 - seen over HTTP only
                await asyncio.sleep(0.01)
        state = (await served.http.get(f"/v1/agents/{agent_id}", params={"include": "agent.pending_approval"})).json()
        call_id = asked["messages"][0]["tool_call"]["tool_call_id"]
        late = await post(served, agent_id, approval({"type": "approval", "tool_call_id": call_id, "approve": True}))
        answer = await served.send(agent_id, "hello?")
        shown = [part.content for part in served.model.requests[-1].messages[-2].tool_returns]
        after = await value(served, agent_id)
    assert closed == shown == ["Error: nobody answered this call in time. It expired and was not made."]
    assert (state["pending_approval"], after) == (None, "Bob")
    assert (late.status_code, "expired before they were answered" in late.json()["detail"]) == (400, True)
    assert answer["messages"][0]["content"] == "Hello."


async def test_call_that_waited_too_long_while_the_server_was_down_is_closed_at_its_start(tmp_path: Path) -> None:
    async with serve(tmp_path, [insert("Tall.")]) as served:
        agent_id = await agent_with_approval(served)
        await served.send(agent_id, "I am tall")
    async with serve(tmp_path, approval_timeout=0.001) as served, asyncio.timeout(10):
        while not await tool_returns(served, agent_id):  # noqa: ASYNC110 - seen over HTTP only
            await asyncio.sleep(0.01)


async def test_call_that_is_being_carried_out_does_not_expire(tmp_path: Path) -> None:
    source = "def work() -> str:\n    '''Work.'''\n    import time\n    time.sleep(1.5)\n    return 'worked'\n"
    async with serve(tmp_path, [Call("work"), "Done."], approval_timeout=1.0) as served:
        tool = (
            await served.http.post("/v1/tools/", json={"source_code": source, "default_requires_approval": True})
        ).json()
        agent_id = (await served.agent(tool_ids=[tool["id"]]))["id"]
        asked = await served.send(agent_id, "go")
        call_id = asked["messages"][0]["tool_call"]["tool_call_id"]
        answer = (
            await post(served, agent_id, approval({"type": "approval", "tool_call_id": call_id, "approve": True}))
        ).json()
    assert [message["message_type"] for message in answer["messages"]] == ["tool_return_message", "assistant_message"]
    assert answer["messages"][0]["tool_return"] == "worked"


async def test_cancel_during_an_approved_call_leaves_nothing_waiting(tmp_path: Path) -> None:
    source = "def work() -> str:\n    '''Work.'''\n    import time\n    time.sleep(60)\n    return 'worked'\n"
    async with serve(tmp_path, [Call("work"), "Hello."]) as served:
        body = {"source_code": source, "default_requires_approval": True}
        tool = (await served.http.post("/v1/tools/", json=body)).json()
        agent_id = (await served.agent(tool_ids=[tool["id"]]))["id"]
        [request] = (await served.send(agent_id, "go"))["messages"]
        answer = {"type": "approval", "tool_call_id": request["tool_call"]["tool_call_id"], "approve": True}
        working = asyncio.create_task(post(served, agent_id, approval(answer)))

        async def kinds() -> list[str]:
            listed = await served.http.get(f"/v1/agents/{agent_id}/messages", params={"order": "asc"})
            return [message["message_type"] for message in listed.json()][1:]

        async with asyncio.timeout(30):
            while "approval_response_message" not in await kinds():  # noqa: ASYNC110 - there is no event to wait for
                await asyncio.sleep(0.01)
        cancelled = await served.http.post(f"/v1/agents/{agent_id}/messages/cancel", json={})
        stopped = (await working).json()["stop_reason"]["stop_reason"]
        said = await served.send(agent_id, "Are you there?")
        listed = await kinds()
    assert (list(cancelled.json().values()), stopped) == (["cancelled"], "cancelled")
    assert [message["content"] for message in said["messages"]] == ["Hello."]
    assert listed == [
        "user_message",
        "approval_request_message",
        "approval_response_message",
        "tool_return_message",
        "user_message",
        "assistant_message",
    ]
