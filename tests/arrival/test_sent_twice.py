"""A message that is sent twice is answered once."""

import asyncio
from pathlib import Path

import pytest
from tests.arrival.conftest import Gate, Serve
from tests.arrival.steps import ended, post, runs_of, said, talk, waiting
from tests.serving import Served, serve

from letta.errors import ModelRateLimit
from letta.models.scripted import Call

INSERT = Call("memory_insert", {"label": "human", "new_string": "Tall."})
AGAIN = {"x-stainless-retry-count": "1", "x-stainless-read-timeout": "60"}
KEY = {"Idempotency-Key": "order-1"}


async def test_same_otid_and_text_get_the_same_answer(make_server: Serve) -> None:
    async with make_server("one", "two") as served:
        agent = await served.agent()
        first, second = [(await post(served, agent["id"], "hi", otid="o-1")).json() for _ in range(2)]
        listed = await talk(served, agent["id"])
    assert first["messages"][0]["content"] == "one"
    assert second == first
    assert listed == [("user", "hi"), ("assistant", "one")]


async def test_same_otid_with_another_text_is_another_message(make_server: Serve) -> None:
    async with make_server("one", "two") as served:
        agent = await served.agent()
        first = (await post(served, agent["id"], "hi", otid="o-1")).json()
        second = (await post(served, agent["id"], "and you?", otid="o-1")).json()
    assert [first["messages"][0]["content"], second["messages"][0]["content"]] == ["one", "two"]


async def test_messages_without_a_mark_are_never_taken_for_each_other(served: Served) -> None:
    agent = await served.agent()
    for _ in range(2):
        await post(served, agent["id"], "yes", headers={"x-stainless-retry-count": "0"})
    assert len(await runs_of(served, agent["id"])) == 2


async def test_key_in_the_header_gets_the_same_answer_and_refuses_another_body(make_server: Serve) -> None:
    async with make_server("one", "two") as served:
        agent, other = await served.agent(), await served.agent()
        first, second = [(await post(served, agent["id"], "hi", headers=KEY)).json() for _ in range(2)]
        wrong = await post(served, agent["id"], "something else", headers=KEY)
        elsewhere = (await post(served, other["id"], "something else", headers=KEY)).json()
        [run] = await runs_of(served, agent["id"])
    assert second == first
    assert wrong.status_code == 422
    assert wrong.json()["detail"] == (
        f"Idempotency-Key: {run['id']} was made with this key and another body: "
        "send the same body again, or choose a new key"
    )
    assert elsewhere["messages"][0]["content"] == "two"


@pytest.mark.parametrize("key", ["", " ", "k" * 256])
async def test_key_that_is_none_is_refused(served: Served, key: str) -> None:
    agent = await served.agent()
    answer = await post(served, agent["id"], "hi", headers={"Idempotency-Key": key})
    assert (answer.status_code, answer.json()["detail"]) == (422, "Idempotency-Key: between 1 and 255 characters")


async def test_retry_of_an_sdk_waits_for_the_run_that_is_going_on(tmp_path: Path) -> None:
    gate = Gate()
    async with serve(tmp_path, [gate]) as served:
        agent = await served.agent()
        first = asyncio.create_task(post(served, agent["id"], "hi", headers={"x-stainless-retry-count": "0"}))
        await gate.reached.wait()
        second = asyncio.create_task(post(served, agent["id"], "hi", headers=AGAIN))
        gate.open.set()
        answers = [(await first).json(), (await second).json()]
        runs = await runs_of(served, agent["id"])
    assert answers[0] == answers[1]
    assert len(runs) == 1


async def test_retry_of_an_sdk_finds_the_run_whose_answer_nobody_took(make_server: Serve) -> None:
    gate = Gate("one")
    async with make_server(gate, "two") as served:
        agent = await served.agent()
        first = asyncio.create_task(post(served, agent["id"], "hi", headers={"x-stainless-retry-count": "0"}))
        await gate.reached.wait()
        first.cancel()
        gate.open.set()
        [run] = await runs_of(served, agent["id"])
        await ended(served, run["id"])
        second = (await post(served, agent["id"], "hi", headers=AGAIN)).json()
    assert second["messages"][0]["content"] == "one"


async def test_same_words_said_anew_are_no_retry_of_what_was_answered(tmp_path: Path) -> None:
    async with serve(tmp_path, ["one", "two"]) as served:
        agent = await served.agent()
        first = (await post(served, agent["id"], "yes", headers={"x-stainless-retry-count": "0"})).json()
        second = (await post(served, agent["id"], "yes", headers=AGAIN)).json()
    assert [first["messages"][0]["content"], second["messages"][0]["content"]] == ["one", "two"]


async def test_first_try_that_never_arrived_leaves_the_retry_to_run(served: Served) -> None:
    agent = await served.agent()
    answer = await post(served, agent["id"], "hi", headers=AGAIN)
    assert answer.json()["stop_reason"]["stop_reason"] == "end_turn"


async def test_retry_of_something_said_long_ago_is_said_anew(tmp_path: Path) -> None:
    async with serve(tmp_path, request_key_hours=1e-9) as served:
        agent = await served.agent()
        for headers in ({"x-stainless-retry-count": "0"}, AGAIN):
            await post(served, agent["id"], "hi", headers=headers)
        assert len(await runs_of(served, agent["id"])) == 2


async def test_key_counts_no_more_when_its_time_is_over(make_server: Serve) -> None:
    async with make_server("one", "two", request_key_hours=1e-9) as served:
        agent = await served.agent()
        answers = [(await post(served, agent["id"], "hi", headers=KEY)).json() for _ in range(2)]
    assert [answer["messages"][0]["content"] for answer in answers] == ["one", "two"]


async def test_two_at_the_same_instant_make_one_run(make_server: Serve) -> None:
    async with make_server() as served:
        agent = await served.agent()
        answers = await asyncio.gather(*(post(served, agent["id"], "hi", otid="o-1") for _ in range(8)))
        runs = await runs_of(served, agent["id"])
    first = answers[0].json()
    assert [answer.json() for answer in answers] == [first] * 8
    assert len(runs) == 1


async def test_two_servers_at_the_same_instant_make_one_run(two_servers: Serve) -> None:
    async with two_servers() as here, two_servers() as there:
        agent = await here.agent()
        answers = await asyncio.gather(*(post(one, agent["id"], "hi", otid="o-1") for one in (here, there) * 4))
        runs = await runs_of(here, agent["id"])
    first = answers[0].json()
    assert [answer.json() for answer in answers] == [first] * 8
    assert len(runs) == 1


async def test_run_is_found_again_after_a_restart(make_server: Serve) -> None:
    async with make_server("one") as served:
        agent = await served.agent()
        first = (await post(served, agent["id"], "hi", otid="o-1")).json()
    async with make_server("two") as served:
        second = (await post(served, agent["id"], "hi", otid="o-1")).json()
        tried = len(served.model.requests)
    assert second == first
    assert tried == 0


async def test_stream_that_is_asked_for_again_is_sent_from_the_start(make_server: Serve) -> None:
    async with make_server("one") as served:
        agent = await served.agent()
        url, body = f"/v1/agents/{agent['id']}/messages", said("hi", otid="o-1", streaming=True, include_pings=False)
        first, second = [(await served.http.post(url, json=body)).text for _ in range(2)]
    assert first.endswith("data: [DONE]\n\n")
    assert second == first


async def test_stream_after_a_json_answer_that_was_given_up_shows_the_same_run(tmp_path: Path) -> None:
    gate = Gate("one")
    async with serve(tmp_path, [gate]) as served:
        agent = await served.agent()
        url = f"/v1/agents/{agent['id']}/messages"
        lost = asyncio.create_task(served.http.post(url, json=said("hi", otid="o-1")))
        await gate.reached.wait()
        lost.cancel()
        body = said("hi", otid="o-1", streaming=True, stream_tokens=True, include_pings=False)
        again = asyncio.create_task(served.http.post(url, json=body))
        gate.open.set()
        text = (await again).text
    assert '"content":"one"' in text
    assert len(served.model.requests) == 1


async def test_async_request_sent_twice_names_the_same_run(make_server: Serve) -> None:
    async with make_server() as served:
        agent = await served.agent()
        url, body = f"/v1/agents/{agent['id']}/messages/async", said("hi", otid="o-1")
        first = (await served.http.post(url, json=body)).json()
        done = await ended(served, first["id"])
        second = (await served.http.post(url, json=body)).json()
    assert (first["status"], first["completed_at"], first["stop_reason"]) == ("created", None, None)
    assert second == done


async def test_run_that_failed_before_anything_came_of_it_can_be_tried_again(make_server: Serve) -> None:
    async with make_server(ModelRateLimit("slowly"), "fine") as served:
        agent = await served.agent()
        failed, again, once_more = [await post(served, agent["id"], "hi", otid="o-1") for _ in range(3)]
        runs = await runs_of(served, agent["id"])
    assert (failed.status_code, again.status_code) == (429, 200)
    assert once_more.json() == again.json()
    assert [run["status"] for run in runs] == ["failed", "completed"]


async def test_run_that_failed_after_a_step_is_not_tried_again(make_server: Serve) -> None:
    async with make_server(INSERT, ModelRateLimit("slowly"), "fine") as served:
        agent = await served.agent(memory_blocks=[{"label": "human", "value": "Bob"}])
        first, second = [await post(served, agent["id"], "hi", otid="o-1") for _ in range(2)]
        block = (await served.http.get(f"/v1/agents/{agent['id']}/core-memory/blocks/human")).json()
        tried = len(served.model.requests)
    assert (first.status_code, second.status_code) == (429, 429)
    assert second.json() == first.json()
    assert block["value"] == "Bob\nTall."
    assert tried == 2


async def test_answer_to_waiting_calls_sent_twice_is_acted_on_once(tmp_path: Path) -> None:
    async with serve(tmp_path, [INSERT, "Noted."]) as served:
        agent = await served.agent(memory_blocks=[{"label": "human", "value": "Bob"}])
        rule = f"/v1/agents/{agent['id']}/tools/approval/memory_insert"
        await served.http.patch(rule, json={"requires_approval": True})
        first = (await post(served, agent["id"], "I am tall", otid="o-1")).json()
        repeated = (await post(served, agent["id"], "I am tall", otid="o-1")).json()
        call_id = first["messages"][0]["tool_call"]["tool_call_id"]
        approval = {"type": "approval", "tool_call_id": call_id, "approve": True}
        body = {"messages": [{"type": "approval", "approvals": [approval], "otid": "o-2"}]}
        url = f"/v1/agents/{agent['id']}/messages"
        answers = [(await served.http.post(url, json=body)).json() for _ in range(2)]
        late = (await post(served, agent["id"], "I am tall", otid="o-1")).json()
    assert repeated == first == late
    assert answers[0] == answers[1]
    assert answers[0]["messages"][-1]["content"] == "Noted."


async def test_same_request_to_a_busy_conversation_is_attached_and_not_refused(tmp_path: Path) -> None:
    gate = Gate()
    async with serve(tmp_path, [gate]) as served:
        agent = await served.agent()
        url = f"/v1/conversations/{agent['id']}/messages"
        body = said("hi", otid="o-1", streaming=False)
        first = asyncio.create_task(served.http.post(url, json=body))
        await gate.reached.wait()
        second = asyncio.create_task(served.http.post(url, json=body))
        other = await served.http.post(url, json=said("hello", otid="o-2", streaming=False))
        gate.open.set()
        answers = [(await first).json(), (await second).json()]
        await waiting(served, agent["id"], 1)
    assert answers[0] == answers[1]
    assert other.status_code == 409
