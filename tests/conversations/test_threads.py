"""Threads of one agent that run at the same time, forks and what their models see, calls that wait in a fork."""

import asyncio
from typing import Any

import pytest
from tests.api.test_conversations import conversation, listed, say, texts
from tests.arrival.conftest import Gate, Serve
from tests.serving import Served

from letta.models.protocol import ModelRequest
from letta.models.scripted import Call, Step
from letta.schemas.messages import Role

HUMAN = [{"label": "human", "value": "Bob"}]


class Meeting:
    """Steps that answer only when all of them have been asked."""

    def __init__(self, barrier: asyncio.Barrier, then: Step) -> None:
        self._barrier, self._then = barrier, then

    async def __call__(self, _: ModelRequest) -> Step:
        async with asyncio.timeout(10):
            await self._barrier.wait()
        return self._then


async def fork(served: Served, conversation_id: str, **query: Any) -> str:
    answer = await served.http.post(f"/v1/conversations/{conversation_id}/fork", params=query)
    assert answer.status_code == 200, answer.text
    fork_id: str = answer.json()["id"]
    return fork_id


async def context(served: Served, conversation_id: str) -> list[str]:
    found: list[str] = (await served.http.get(f"/v1/conversations/{conversation_id}")).json()["in_context_message_ids"]
    return found


def spoken(request: ModelRequest) -> list[str]:
    """What the model was shown of people and the agent, without times."""
    return [message.text for message in request.messages if message.role in (Role.USER, Role.ASSISTANT)]


async def test_two_threads_of_an_agent_run_at_once_and_edit_one_memory(make_server: Serve) -> None:
    barrier = asyncio.Barrier(2)
    inserts = [Call("memory_insert", {"label": "human", "new_string": text}) for text in ("Tall.", "Calm.")]
    async with make_server(*(Meeting(barrier, insert) for insert in inserts), "Noted.", "Noted.") as served:
        agent = await served.agent(memory_blocks=HUMAN)
        one, two = [(await conversation(served, agent["id"]))["id"] for _ in range(2)]
        await asyncio.gather(say(served, one, "I am one thing"), say(served, two, "I am another"))
        block = (await served.http.get(f"/v1/agents/{agent['id']}/core-memory/blocks/human")).json()
        last = ["\n".join(request.system) for request in served.model.requests][-2:]
    assert sorted(block["value"].split("\n")) == ["Bob", "Calm.", "Tall."]
    assert any("Tall." in prompt and "Calm." in prompt for prompt in last)


async def test_fork_shows_its_model_what_was_said_and_goes_its_own_way(served: Served) -> None:
    agent = await served.agent()
    source = (await conversation(served, agent["id"], summary="Trip"))["id"]
    await say(served, source, "echo one")
    await say(served, source, "echo two")
    first = (await listed(served, source, order="asc"))[2]["id"]
    whole, early = await fork(served, source), await fork(served, source, message_id=first)
    await say(served, source, "echo three")
    await say(served, whole, "echo four")
    await say(served, early, "echo five")
    requests = list(served.model.requests)[-3:]
    assert await texts(served, source) == ["echo one", "one", "echo two", "two", "echo three", "three"]
    assert await texts(served, whole) == ["echo one", "one", "echo two", "two", "echo four", "four"]
    assert await texts(served, early) == ["echo one", "one", "echo five", "five"]
    assert [spoken(request) for request in requests] == [
        ["echo one", "one", "echo two", "two", "echo three"],
        ["echo one", "one", "echo two", "two", "echo four"],
        ["echo one", "one", "echo five"],
    ]
    prompt = (await listed(served, early, order="asc"))[0]["content"]
    assert f"CONVERSATION_ID: {early}" in prompt
    assert await context(served, early) == [message["id"] for message in await listed(served, early, order="asc")]


async def test_own_thread_can_be_forked_and_the_fork_forked_again(served: Served) -> None:
    agent = await served.agent()
    await served.send(agent["id"], "echo one")
    second = await fork(served, "default", agent_id=agent["id"])
    await say(served, second, "echo two")
    third = await fork(served, second)
    await say(served, third, "echo three")
    await served.send(agent["id"], "echo other")
    assert await texts(served, third) == ["echo one", "one", "echo two", "two", "echo three", "three"]
    assert spoken(served.model.requests[-2])[-1] == "echo three"
    await served.http.delete(f"/v1/conversations/{second}")
    assert len(await texts(served, third)) == 6
    page = await listed(served, third, limit=2)
    older = await listed(served, third, limit=3, after=page[-1]["id"])
    assert [message["content"] for message in [*page, *older]] == ["three", "echo three", "two", "echo two", "one"]


async def test_empty_conversation_can_be_forked(served: Served) -> None:
    agent = await served.agent()
    empty = await fork(served, (await conversation(served, agent["id"]))["id"])
    await say(served, empty, "echo one")
    kinds = [message["message_type"] for message in await listed(served, empty, order="asc")]
    assert kinds == ["system_message", "user_message", "assistant_message"]


async def test_forks_are_compacted_each_by_itself(served: Served) -> None:
    agent = await served.agent(compaction_settings={"mode": "all"})
    source = (await conversation(served, agent["id"]))["id"]
    for number in range(4):
        await say(served, source, f"echo {number}")
    whole = await context(served, source)
    second = await fork(served, source)
    report = {"conversation_id": second}
    done = await served.http.post(f"/v1/conversations/{second}/compact")
    shown = (await served.http.get(f"/v1/agents/{agent['id']}/context", params=report)).json()
    third = await fork(served, second)
    early = await fork(served, second, message_id=whole[2])
    await say(served, third, "echo more")
    last = served.model.requests[-1]
    assert done.json()["num_messages_after"] < done.json()["num_messages_before"] == len(whole)
    assert await context(served, source) == whole
    assert shown["summary_memory"]
    assert shown["num_messages"] == done.json()["num_messages_after"]
    assert last.messages[0].role is Role.SUMMARY
    assert [text for text in await texts(served, third) if "echo" in text and len(text) < 20] == [
        "echo 0", "echo 1", "echo 2", "echo 3", "echo more",
    ]  # fmt: skip
    assert await context(served, early) == whole[:3]


async def test_calls_that_wait_are_answered_in_each_fork_by_itself(make_server: Serve) -> None:
    call = Call("memory_insert", {"label": "human", "new_string": "Tall."})
    async with make_server(call, "Not done.", "Done.") as served:
        agent = await served.agent(memory_blocks=HUMAN)
        rule = f"/v1/agents/{agent['id']}/tools/approval/memory_insert"
        await served.http.patch(rule, json={"requires_approval": True})
        source = (await conversation(served, agent["id"]))["id"]
        asked = await say(served, source, "I am tall")
        other = await fork(served, source)
        refused = await served.http.post(f"/v1/conversations/{other}/messages", json={"input": "hi"})
        call_id = asked["messages"][0]["tool_call"]["tool_call_id"]

        def answer(approve: bool) -> dict[str, Any]:
            one = {"type": "approval", "tool_call_id": call_id, "approve": approve}
            return {"messages": [{"type": "approval", "approvals": [one]}], "streaming": False}

        denied = await served.http.post(f"/v1/conversations/{source}/messages", json=answer(approve=False))
        value = (await served.http.get(f"/v1/agents/{agent['id']}/core-memory/blocks/human")).json()["value"]
        allowed = await served.http.post(f"/v1/conversations/{other}/messages", json=answer(approve=True))
        after = (await served.http.get(f"/v1/agents/{agent['id']}/core-memory/blocks/human")).json()["value"]
    assert (refused.status_code, refused.json()["detail"]["code"]) == (409, "PENDING_APPROVAL")
    assert [message["message_type"] for message in denied.json()["messages"]] == [
        "tool_return_message", "assistant_message",
    ]  # fmt: skip
    assert value == "Bob"
    assert allowed.json()["messages"][0]["status"] == "success"
    assert after == "Bob\nTall."


async def test_cancelling_one_thread_lets_the_other_go_on(make_server: Serve) -> None:
    gates = Gate("Late."), Gate("Late.")
    async with make_server(*gates) as served:
        agent = await served.agent()
        one, two = [(await conversation(served, agent["id"]))["id"] for _ in range(2)]
        first = asyncio.create_task(say(served, one, "hello"))
        await gates[0].reached.wait()
        second = asyncio.create_task(say(served, two, "hello"))
        await gates[1].reached.wait()
        cancelled = (await served.http.post(f"/v1/conversations/{one}/cancel")).json()
        gates[1].open.set()
        stopped, answered = await first, await second
    assert list(cancelled.values()) == ["cancelled"]
    assert stopped["stop_reason"]["stop_reason"] == "cancelled"
    assert answered["messages"][0]["content"] == "Late."


async def test_cancel_closes_calls_that_wait_in_its_conversation_only(make_server: Serve) -> None:
    call = Call("memory_insert", {"label": "human", "new_string": "Tall."})
    async with make_server(call, "Go on.") as served:
        agent = await served.agent(memory_blocks=HUMAN)
        rule = f"/v1/agents/{agent['id']}/tools/approval/memory_insert"
        await served.http.patch(rule, json={"requires_approval": True})
        source = (await conversation(served, agent["id"]))["id"]
        await say(served, source, "I am tall")
        other = await fork(served, source)
        cancelled = await served.http.post(f"/v1/conversations/{other}/cancel")
        went_on = await say(served, other, "never mind")
        waits = await served.http.post(f"/v1/conversations/{source}/messages", json={"input": "hi"})
    assert list(cancelled.json().values()) == ["cancelled"]
    assert went_on["messages"][-1]["content"] == "Go on."
    assert waits.status_code == 409


async def test_deleting_a_conversation_stops_what_goes_on_in_it(make_server: Serve) -> None:
    gate = Gate()
    async with make_server(gate) as served:
        agent = await served.agent()
        made = (await conversation(served, agent["id"]))["id"]
        turn = asyncio.create_task(say(served, made, "hello"))
        await gate.reached.wait()
        deleted = await served.http.delete(f"/v1/conversations/{made}")
        stopped = await turn
        every = await served.http.get("/v1/messages/")
    assert (deleted.status_code, stopped["stop_reason"]["stop_reason"]) == (200, "cancelled")
    assert every.status_code == 200


@pytest.mark.parametrize("isolated", [[], ["human"]])
async def test_fork_has_copies_of_what_its_source_had_for_itself(make_server: Serve, isolated: list[str]) -> None:
    def insert(text: str) -> Call:
        return Call("memory_insert", {"label": "human", "new_string": text})

    async with make_server(insert("One."), "ok", insert("Two."), "ok", "Hello.") as served:
        agent = await served.agent(memory_blocks=HUMAN)
        source = (await conversation(served, agent["id"], isolated_block_labels=isolated))["id"]
        await say(served, source, "one")
        other = await fork(served, source)
        await say(served, other, "two")
        await say(served, source, "three")
        prompt = "\n".join(served.model.requests[-1].system)
        ids = [
            (await served.http.get(f"/v1/conversations/{one}")).json()["isolated_block_ids"] for one in (source, other)
        ]
        value = (await served.http.get(f"/v1/agents/{agent['id']}/core-memory/blocks/human")).json()["value"]
    assert "One." in prompt
    assert ("Two." in prompt) is not bool(isolated)
    assert [len(some) for some in ids] == [len(isolated)] * 2
    assert not set(ids[0]) & set(ids[1])
    assert value == ("Bob" if isolated else "Bob\nOne.\nTwo.")


async def test_conversations_are_there_after_a_restart(make_server: Serve) -> None:
    async with make_server() as served:
        agent = await served.agent()
        made = (await conversation(served, agent["id"]))["id"]
        await say(served, made, "echo one")
        other = await fork(served, made)
    async with make_server() as served:
        await say(served, other, "echo two")
        assert spoken(served.model.requests[-1]) == ["echo one", "one", "echo two"]
        assert await texts(served, other) == ["echo one", "one", "echo two", "two"]


# -- a conversation that is busy ---------------------------------------------------------------------------------------


async def test_busy_conversation_refuses_naming_its_run_and_the_other_threads_go_on(make_server: Serve) -> None:
    gate = Gate("Late.")
    async with make_server(gate, "Free.") as served:
        agent = await served.agent()
        one, two = [(await conversation(served, agent["id"]))["id"] for _ in range(2)]
        turn = asyncio.create_task(say(served, one, "hello"))
        await gate.reached.wait()
        [active] = (await served.http.get("/v1/runs/", params={"conversation_id": one, "active": True})).json()
        refused = await served.http.post(f"/v1/conversations/{one}/messages", json={"input": "and?"})
        other = await say(served, two, "hello")
        gate.open.set()
        await turn
        again = await say(served, one, "echo now")
    assert (refused.status_code, refused.json()["run_id"]) == (409, active["id"])
    assert other["messages"][0]["content"] == "Free."
    assert again["messages"][0]["content"] == "now"


async def test_stream_of_a_conversation_is_that_of_its_active_run(
    make_server: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate("Late.")
    async with make_server(gate) as served:
        read, readers = served.parts.following.parts, asyncio.Semaphore(0)

        def noted(*args: Any, **kwargs: Any) -> Any:
            readers.release()
            return read(*args, **kwargs)

        monkeypatch.setattr(served.parts.following, "parts", noted)
        agent = await served.agent()
        made = (await conversation(served, agent["id"]))["id"]
        idle = await served.http.post(f"/v1/conversations/{made}/stream")
        body = {"messages": [{"role": "user", "content": "hello", "otid": "otid-1"}], "background": True}
        sent = asyncio.create_task(served.http.post(f"/v1/conversations/{made}/messages", json=body))
        await gate.reached.wait()
        watched = asyncio.create_task(served.http.post(f"/v1/conversations/{made}/stream"))
        async with asyncio.timeout(20):
            for _ in (sent, watched):
                await readers.acquire()
        gate.open.set()
        frames, seen = (await sent).text, (await watched).text
        later = await served.http.post(f"/v1/conversations/{made}/stream", json={"otid": "otid-1"})
        unknown = await served.http.post(f"/v1/conversations/{made}/stream", json={"otid": "otid-2"})
    assert (idle.status_code, "No active runs" in idle.text) == (400, True)
    assert "Late." in frames
    assert [line for line in seen.splitlines() if '"ping"' not in line] == [
        line for line in frames.splitlines() if '"ping"' not in line
    ]
    assert "Late." in later.text
    assert unknown.status_code == 404


@pytest.mark.parametrize("in_the_fork", [False, True])
async def test_turn_that_a_fork_shares_is_closed_and_not_taken_back(make_server: Serve, in_the_fork: bool) -> None:
    call = Call("memory_insert", {"label": "human", "new_string": "Tall."})
    async with make_server(call, "Anew.", "Done.") as served:
        agent = await served.agent(memory_blocks=HUMAN)
        rule = f"/v1/agents/{agent['id']}/tools/approval/memory_insert"
        await served.http.patch(rule, json={"requires_approval": True})
        source = (await conversation(served, agent["id"]))["id"]
        asked = await say(served, source, "I am tall")
        other = await fork(served, source)
        anew, kept = (other, source) if in_the_fork else (source, other)
        answer = await say(served, anew, "forget that", busy_policy="rollback")
        one = {"type": "approval", "tool_call_id": asked["messages"][0]["tool_call"]["tool_call_id"], "approve": True}
        body = {"messages": [{"type": "approval", "approvals": [one]}], "streaming": False}
        allowed = (await served.http.post(f"/v1/conversations/{kept}/messages", json=body)).json()
        said = [await texts(served, one) for one in (anew, kept)]
    assert answer["messages"][-1]["content"] == "Anew."
    assert [message["message_type"] for message in allowed["messages"]] == ["tool_return_message", "assistant_message"]
    assert said == [["I am tall", "forget that", "Anew."], ["I am tall", "Done."]]


async def test_replicas_work_on_threads_of_one_agent_and_see_each_others_forks(two_servers: Serve) -> None:
    gate = Gate(Call("memory_insert", {"label": "human", "new_string": "Tall."}))
    async with two_servers(gate, "Late.") as one, two_servers("Free.") as two:
        agent = await one.agent(memory_blocks=HUMAN)
        first, second = [(await conversation(one, agent["id"]))["id"] for _ in range(2)]
        turn = asyncio.create_task(say(one, first, "hello"))
        await gate.reached.wait()
        refused = await two.http.post(f"/v1/conversations/{first}/messages", json={"input": "and?"})
        other = await say(two, second, "hello")
        gate.open.set()
        await turn
        forked = await fork(two, first)
        await say(one, forked, "echo one")
        await say(two, forked, "echo two")
        said = await texts(one, forked)
        prompt = "\n".join(two.model.requests[-1].system)
    assert (refused.status_code, "run_id" in refused.json()) == (409, True)
    assert other["messages"][0]["content"] == "Free."
    assert said == ["hello", "Late.", "echo one", "one", "echo two", "two"]
    assert "Tall." in prompt
