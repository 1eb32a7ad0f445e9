"""Messages that arrive at one server while the agent is at work on another one."""

import asyncio

from tests.arrival.conftest import Gate, Serve
from tests.arrival.steps import (
    asked,
    check_one_was_heard,
    decide,
    post,
    runs_of,
    said,
    talk,
    waiting,
    waits_for_approval,
)

from letta.models.scripted import Call

HUMAN = [{"label": "human", "value": "Bob"}]
INSERT = Call("memory_insert", {"label": "human", "new_string": "Tall."})


async def test_other_server_refuses_and_names_the_run(two_servers: Serve) -> None:
    gate = Gate()
    async with two_servers(gate) as here, two_servers() as there:
        agent = await here.agent()
        one = asyncio.create_task(post(here, agent["id"], "one"))
        await gate.reached.wait()
        [run] = await runs_of(here, agent["id"])
        refused = await post(there, agent["id"], "two", busy_policy="reject")
        gate.open.set()
        await one
    assert (refused.status_code, refused.json()["run_id"]) == (409, run["id"])


async def test_other_server_lets_messages_wait(two_servers: Serve) -> None:
    gate = Gate("first")
    async with two_servers(gate) as here, two_servers("second") as there:
        agent = await here.agent()
        one = asyncio.create_task(post(here, agent["id"], "one"))
        await gate.reached.wait()
        two = asyncio.create_task(post(there, agent["id"], "two"))
        await waiting(here, agent["id"], 2)
        gate.open.set()
        answers = [(await task).json()["messages"][0]["content"] for task in (one, two)]
        heard = asked(there)
    assert answers == ["first", "second"]
    assert heard == ["one", "two"]


async def test_steering_message_reaches_the_turn_on_the_other_server(two_servers: Serve) -> None:
    gate = Gate(INSERT)
    async with two_servers(gate, "as you wish") as here, two_servers() as there:
        agent = await here.agent(memory_blocks=HUMAN)
        one = asyncio.create_task(post(here, agent["id"], "one"))
        await gate.reached.wait()
        two = asyncio.create_task(post(there, agent["id"], "wait", busy_policy="steer"))
        await waiting(here, agent["id"], 2)
        gate.open.set()
        first, second = [(await task).json() for task in (one, two)]
        heard, elsewhere = asked(here), len(there.model.requests)
    assert [m["message_type"] for m in first["messages"]] == [
        "tool_call_message", "tool_return_message", "assistant_message",
    ]  # fmt: skip
    assert [m["content"] for m in second["messages"]] == ["as you wish"]
    assert heard == ["one", "wait"]
    assert elsewhere == 0


async def test_waiting_messages_of_both_servers_are_merged(two_servers: Serve) -> None:
    gate = Gate("first")
    async with two_servers(gate, "both") as here, two_servers("both") as there:
        agent = await here.agent()
        one = asyncio.create_task(post(here, agent["id"], "one"))
        await gate.reached.wait()
        two = asyncio.create_task(post(here, agent["id"], "two", busy_policy="merge"))
        await waiting(here, agent["id"], 2)
        three = asyncio.create_task(post(there, agent["id"], "three", busy_policy="merge"))
        await waiting(here, agent["id"], 3)
        gate.open.set()
        answers = [(await task).json()["messages"][0]["content"] for task in (one, two, three)]
        listed = await talk(here, agent["id"])
    assert answers == ["first", "both", "both"]
    assert len([kind for kind, _ in listed if kind == "assistant"]) == 2


async def test_turn_on_the_other_server_is_interrupted(two_servers: Serve) -> None:
    gate = Gate()
    async with two_servers(INSERT, gate) as here, two_servers("at once") as there:
        agent = await here.agent(memory_blocks=HUMAN)
        one = asyncio.create_task(post(here, agent["id"], "one"))
        await gate.reached.wait()
        two = await post(there, agent["id"], "two", busy_policy="interrupt")
        first = (await one).json()
        runs = await runs_of(here, agent["id"])
    assert first["stop_reason"]["stop_reason"] == "cancelled"
    assert two.json()["messages"][0]["content"] == "at once"
    assert [run["status"] for run in runs] == ["cancelled", "completed"]


async def test_turn_on_the_other_server_is_rolled_back(two_servers: Serve) -> None:
    gate = Gate()
    async with two_servers(INSERT, gate) as here, two_servers("instead") as there:
        agent = await here.agent(memory_blocks=HUMAN)
        one = asyncio.create_task(post(here, agent["id"], "wrong"))
        await gate.reached.wait()
        two = await post(there, agent["id"], "right", busy_policy="rollback")
        await one
        listed, heard = await talk(here, agent["id"]), asked(there)
    assert two.json()["messages"][0]["content"] == "instead"
    assert [text for _, text in listed] == ["right", "instead"]
    assert heard == ["right"]


async def test_stream_asked_for_again_at_the_other_server_is_the_same(two_servers: Serve) -> None:
    gate = Gate("one two three four five")
    async with two_servers(gate) as here, two_servers() as there:
        agent = await here.agent()
        url = f"/v1/agents/{agent['id']}/messages"
        body = said("hi", otid="o-1", streaming=True, stream_tokens=True, include_pings=False)
        first = asyncio.create_task(here.http.post(url, json=body))
        await gate.reached.wait()
        second = asyncio.create_task(there.http.post(url, json=body))
        gate.open.set()
        texts = [(await task).text for task in (first, second)]
    assert texts[0] == texts[1]
    assert texts[0].endswith("data: [DONE]\n\n")


async def test_of_two_contradicting_answers_at_two_servers_the_later_one_is_a_conflict(two_servers: Serve) -> None:
    async with two_servers(INSERT, "Noted.") as here, two_servers("Noted.") as there:
        agent_id, call_id = await waits_for_approval(here)
        answers = await asyncio.gather(decide(here, agent_id, call_id, True), decide(there, agent_id, call_id, False))
        block = (await here.http.get(f"/v1/agents/{agent_id}/core-memory/blocks/human")).json()["value"]
    check_one_was_heard(answers, block)
