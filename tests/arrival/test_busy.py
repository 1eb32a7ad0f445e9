"""What happens to messages that arrive while the agent is at work, policy by policy."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.arrival.conftest import Gate, Serve
from tests.arrival.steps import (
    asked,
    check_one_was_heard,
    decide,
    ended,
    post,
    runs_of,
    said,
    talk,
    waiting,
    waits_for_approval,
)
from tests.serving import Served, serve

from letta.models.scripted import Call

HUMAN = [{"label": "human", "value": "Bob"}]
INSERT = Call("memory_insert", {"label": "human", "new_string": "Tall."})
POLICIES = ["reject", "enqueue", "merge", "steer", "interrupt", "rollback"]


async def spoken(sending: "asyncio.Task[Any]") -> list[str]:
    """The kinds of messages in an answer, or its text where it is one."""
    answer = (await sending).json()
    return [m.get("content") or m["message_type"] for m in answer["messages"]]


def sending(served: Served, agent_id: str, text: str, **fields: Any) -> "asyncio.Task[Any]":
    return asyncio.create_task(post(served, agent_id, text, **fields))


# -- who decides -------------------------------------------------------------------------------------------------------


async def test_conversation_refuses_a_second_request_and_names_the_run(make_server: Serve) -> None:
    gate = Gate()
    async with make_server(gate) as served:
        agent = await served.agent()
        url = f"/v1/conversations/{agent['id']}/messages"
        first = asyncio.create_task(served.http.post(url, json=said("one", streaming=False)))
        await gate.reached.wait()
        [run] = await runs_of(served, agent["id"])
        refused = await served.http.post(url, json=said("two", streaming=False))
        gate.open.set()
        await first
        free = await served.http.post(url, json=said("three", streaming=False))
    assert (refused.status_code, refused.headers["x-should-retry"]) == (409, "false")
    assert refused.json() == {
        "run_id": run["id"],
        "detail": f"conversation {agent['id']} is busy with run {run['id']}",
    }
    assert free.status_code == 200


async def test_request_decides_before_conversation_and_agent(tmp_path: Path) -> None:
    gate = Gate()
    async with serve(tmp_path, [gate]) as served:
        agent = await served.agent(busy_policy="reject")
        first = sending(served, agent["id"], "one")
        await gate.reached.wait()
        refused = await post(served, agent["id"], "two")
        second = sending(served, agent["id"], "three", busy_policy="enqueue")
        await waiting(served, agent["id"], 2)
        gate.open.set()
        await first
        answer = await second
    assert refused.status_code == 409
    assert answer.status_code == 200


async def test_conversation_decides_before_its_agent(tmp_path: Path) -> None:
    gate = Gate()
    async with serve(tmp_path, [gate]) as served:
        agent = await served.agent(busy_policy="reject")
        body = {"busy_policy": "enqueue"}
        made = (await served.http.post("/v1/conversations/", params={"agent_id": agent["id"]}, json=body)).json()
        url = f"/v1/conversations/{made['id']}/messages"
        first = asyncio.create_task(served.http.post(url, json=said("one", streaming=False)))
        await gate.reached.wait()
        second = asyncio.create_task(served.http.post(url, json=said("two", streaming=False)))
        await waiting(served, agent["id"], 2)
        gate.open.set()
        statuses = [(await one).status_code for one in (first, second)]
        cleared = (await served.http.patch(f"/v1/conversations/{made['id']}", json={"busy_policy": None})).json()
    assert made["busy_policy"] == "enqueue"
    assert statuses == [200, 200]
    assert "busy_policy" not in cleared


async def test_agent_shows_its_policy_only_where_it_has_one(served: Served) -> None:
    plain, steered = await served.agent(), await served.agent(busy_policy="steer")
    changed = (await served.http.patch(f"/v1/agents/{plain['id']}", json={"busy_policy": "merge"})).json()
    cleared = (await served.http.patch(f"/v1/agents/{plain['id']}", json={"busy_policy": None})).json()
    assert "busy_policy" not in plain
    assert (steered["busy_policy"], changed["busy_policy"]) == ("steer", "merge")
    assert "busy_policy" not in cleared


async def test_unknown_policy_is_refused_with_the_names_there_are(served: Served) -> None:
    agent = await served.agent()
    answer = await post(served, agent["id"], "hi", busy_policy="shout")
    assert answer.status_code == 422
    assert all(name in answer.json()["detail"] for name in POLICIES)


@pytest.mark.parametrize("policy", POLICIES)
async def test_nothing_special_happens_while_the_agent_is_idle(tmp_path: Path, policy: str) -> None:
    async with serve(tmp_path, ["one", "two"]) as served:
        agent = await served.agent()
        for text in ("a", "b"):
            assert (await post(served, agent["id"], text, busy_policy=policy)).status_code == 200
        listed = await talk(served, agent["id"])
    assert listed == [("user", "a"), ("assistant", "one"), ("user", "b"), ("assistant", "two")]


# -- merge -------------------------------------------------------------------------------------------------------------


async def test_waiting_requests_are_merged_into_one_turn(make_server: Serve) -> None:
    gate = Gate("first")
    async with make_server(gate, "all of you") as served:
        agent = await served.agent()
        one = sending(served, agent["id"], "one")
        await gate.reached.wait()
        others = []
        for number, text in enumerate(("two", "three", "four"), 2):
            others.append(sending(served, agent["id"], text, busy_policy="merge"))
            await waiting(served, agent["id"], number)
        gate.open.set()
        answers = [await spoken(task) for task in (one, *others)]
        runs = await runs_of(served, agent["id"])
        listed = await talk(served, agent["id"])
        heard = asked(served)
    assert answers == [["first"], ["all of you"], ["all of you"], ["all of you"]]
    assert heard == ["one", "two", "three", "four"]
    assert [run["status"] for run in runs] == ["completed"] * 4
    assert [run["metadata"].get("answered_by") for run in runs] == [None, None, runs[1]["id"], runs[1]["id"]]
    assert listed == [
        ("user", "one"), ("assistant", "first"),
        ("user", "two"), ("user", "three"), ("user", "four"), ("assistant", "all of you"),
    ]  # fmt: skip


async def test_merging_passes_nobody_who_wants_a_turn_of_their_own(tmp_path: Path) -> None:
    gate = Gate("0")
    async with serve(tmp_path, [gate, "1", "2", "3"]) as served:
        agent = await served.agent()
        tasks = [sending(served, agent["id"], "zero")]
        await gate.reached.wait()
        for number, policy in enumerate(("merge", "merge", "enqueue", "merge"), 2):
            tasks.append(sending(served, agent["id"], str(number), busy_policy=policy))
            await waiting(served, agent["id"], number)
        gate.open.set()
        answers = [await spoken(task) for task in tasks]
    assert answers == [["0"], ["1"], ["1"], ["2"], ["3"]]


async def test_deadline_of_one_request_is_not_that_of_another(make_server: Serve) -> None:
    first, lead = Gate("first"), Gate("never said")
    async with make_server(first, lead, "in time") as served:
        agent = await served.agent()
        one = sending(served, agent["id"], "one")
        await first.reached.wait()
        two = sending(served, agent["id"], "two", busy_policy="merge", deadline_seconds=3)
        await waiting(served, agent["id"], 2)
        three = sending(served, agent["id"], "three", busy_policy="merge")
        await waiting(served, agent["id"], 3)
        first.open.set()
        await one
        late = await two
        answer = await spoken(three)
    assert late.status_code == 504
    assert answer == ["in time"]


async def test_cancelled_merged_requests_are_all_said_to_be_cancelled(make_server: Serve) -> None:
    first, lead = Gate("first"), Gate()
    async with make_server(first, lead) as served:
        agent = await served.agent()
        tasks = [sending(served, agent["id"], "one")]
        await first.reached.wait()
        for number, text in enumerate(("two", "three"), 2):
            tasks.append(sending(served, agent["id"], text, busy_policy="merge"))
            await waiting(served, agent["id"], number)
        first.open.set()
        await lead.reached.wait()
        cancelled = (await served.http.post(f"/v1/agents/{agent['id']}/messages/cancel", json={})).json()
        for task in tasks:
            await task
        runs = await runs_of(served, agent["id"])
    assert [run["status"] for run in runs] == ["completed", "cancelled", "cancelled"]
    assert cancelled == {run["id"]: "cancelled" for run in runs[1:]}


async def test_merged_requests_share_a_failure(tmp_path: Path) -> None:
    gate = Gate("first")
    async with serve(tmp_path, [gate]) as served:
        agent = await served.agent()
        one = sending(served, agent["id"], "one")
        await gate.reached.wait()
        tasks = []
        for number, text in enumerate(("two", "!error auth"), 2):
            tasks.append(sending(served, agent["id"], text, busy_policy="merge"))
            await waiting(served, agent["id"], number)
        gate.open.set()
        await one
        statuses = [(await task).status_code for task in tasks]
        runs = await runs_of(served, agent["id"])
    assert statuses == [401, 401]
    assert [run["status"] for run in runs] == ["completed", "failed", "failed"]
    assert [run["metadata"]["error"]["type"] for run in runs[1:]] == ["llm_authentication"] * 2


async def test_requests_that_wait_to_be_merged_survive_a_restart(make_server: Serve) -> None:
    gate = Gate()
    async with make_server(gate, shutdown_grace=0.01) as served:
        agent = await served.agent()
        url = f"/v1/agents/{agent['id']}/messages/async"
        ids = [(await served.http.post(url, json=said("one"))).json()["id"]]
        await gate.reached.wait()
        merging = [await served.http.post(url, json=said(text, busy_policy="merge")) for text in ("two", "three")]
        ids += [answer.json()["id"] for answer in merging]
    async with make_server("first", "both") as served:
        runs = [await ended(served, run_id) for run_id in ids]
        listed = await talk(served, agent["id"])
    assert [run["status"] for run in runs] == ["completed"] * 3
    assert runs[2]["metadata"]["answered_by"] == ids[1]
    assert [text for kind, text in listed] == ["one", "first", "two", "three", "both"]


# -- steer -------------------------------------------------------------------------------------------------------------


async def test_steering_message_is_heard_at_the_next_step(make_server: Serve) -> None:
    gate = Gate(INSERT)
    async with make_server(gate, "as you wish") as served:
        agent = await served.agent(memory_blocks=HUMAN)
        one = sending(served, agent["id"], "one")
        await gate.reached.wait()
        two = sending(served, agent["id"], "no, wait", otid="o-2", busy_policy="steer")
        await waiting(served, agent["id"], 2)
        gate.open.set()
        answers = [await spoken(one), await spoken(two)]
        again = (await post(served, agent["id"], "no, wait", otid="o-2", busy_policy="steer")).json()
        runs = await runs_of(served, agent["id"])
        listed = await talk(served, agent["id"])
        heard = asked(served)
        followed = (await two).json()
    assert answers == [["tool_call_message", "tool_return_message", "as you wish"], ["as you wish"]]
    assert heard == ["one", "no, wait"]
    assert [run["status"] for run in runs] == ["completed", "completed"]
    assert runs[1]["metadata"]["answered_by"] == runs[0]["id"]
    assert [kind for kind, _ in listed] == ["user", "tool_call", "tool_return", "user", "assistant"]
    assert again["messages"] == followed["messages"]


async def test_steering_message_that_was_heard_can_be_given_up_but_not_taken_back(make_server: Serve) -> None:
    first, second = Gate(INSERT), Gate("as you wish")
    async with make_server(first, second) as served:
        agent = await served.agent(memory_blocks=HUMAN)
        one = sending(served, agent["id"], "one")
        await first.reached.wait()
        two = sending(served, agent["id"], "two", busy_policy="steer")
        await waiting(served, agent["id"], 2)
        three = sending(served, agent["id"], "three", busy_policy="steer", deadline_seconds=3)
        await waiting(served, agent["id"], 3)
        first.open.set()
        await second.reached.wait()
        ids = [run["id"] for run in await runs_of(served, agent["id"])]
        cancelled = await served.http.post(f"/v1/agents/{agent['id']}/messages/cancel", json={"run_ids": [ids[1]]})
        late = await three
        second.open.set()
        answer = await spoken(one)
        await two
        runs = await runs_of(served, agent["id"])
        heard = asked(served)
    assert cancelled.json() == {ids[1]: "cancelled"}
    assert late.status_code == 504
    assert heard == ["one", "two", "three"]
    assert answer == ["tool_call_message", "tool_return_message", "as you wish"]
    assert [run["status"] for run in runs] == ["completed", "cancelled", "failed"]
    assert [run["metadata"].get("answered_by") for run in runs] == [None, ids[0], ids[0]]
    assert runs[2]["metadata"]["error"]["type"] == "deadline_exceeded"


async def test_steering_message_that_comes_too_late_gets_a_turn_of_its_own(make_server: Serve) -> None:
    gate = Gate("done")
    async with make_server(gate, "and now you") as served:
        agent = await served.agent()
        one = sending(served, agent["id"], "one")
        await gate.reached.wait()
        two = sending(served, agent["id"], "two", busy_policy="steer")
        await waiting(served, agent["id"], 2)
        gate.open.set()
        answers = [await spoken(one), await spoken(two)]
        runs = await runs_of(served, agent["id"])
    assert answers == [["done"], ["and now you"]]
    assert "answered_by" not in runs[1]["metadata"]


async def test_steering_message_that_was_heard_is_answered_after_a_restart(make_server: Serve) -> None:
    first, second = Gate(INSERT), Gate()
    async with make_server(first, second, shutdown_grace=0.01) as served:
        agent = await served.agent(memory_blocks=HUMAN)
        url = f"/v1/agents/{agent['id']}/messages/async"
        await served.http.post(url, json=said("one"))
        await first.reached.wait()
        steering = said("wait", otid="o-2", busy_policy="steer")
        run = (await served.http.post(url, json=steering)).json()
        first.open.set()
        await second.reached.wait()
    async with make_server("as you wish") as served:
        after = await ended(served, run["id"])
        again = (await post(served, agent["id"], "wait", otid="o-2")).json()
        listed = await talk(served, agent["id"])
        heard = asked(served)
    assert after["status"] == "completed"
    assert heard == ["one", "wait"]
    assert [m["content"] for m in again["messages"]] == ["as you wish"]
    assert [kind for kind, _ in listed] == ["user", "tool_call", "tool_return", "user", "assistant"]


async def test_stream_of_a_steering_message_ends_with_the_run_it_steered(tmp_path: Path) -> None:
    gate = Gate(INSERT)
    async with serve(tmp_path, [gate, "as you wish"]) as served:
        agent = await served.agent(memory_blocks=HUMAN)
        one = sending(served, agent["id"], "one")
        await gate.reached.wait()
        options = {"busy_policy": "steer", "streaming": True, "include_pings": False}
        two = sending(served, agent["id"], "wait", **options)
        await waiting(served, agent["id"], 2)
        gate.open.set()
        await one
        frames = (await two).text.split("\n\n")
    assert len(frames) == 5
    assert '"content":"as you wish"' in frames[0]
    assert frames[3:] == ["data: [DONE]", ""]


async def test_steering_message_can_be_cancelled_while_it_waits(tmp_path: Path) -> None:
    gate = Gate(INSERT)
    async with serve(tmp_path, [gate, "done"]) as served:
        agent = await served.agent(memory_blocks=HUMAN)
        one = sending(served, agent["id"], "one")
        await gate.reached.wait()
        two = sending(served, agent["id"], "two", busy_policy="steer")
        await waiting(served, agent["id"], 2)
        run = (await runs_of(served, agent["id"]))[1]
        await served.http.post(f"/v1/agents/{agent['id']}/messages/cancel", json={"run_ids": [run["id"]]})
        gate.open.set()
        await one
        answer = (await two).json()
        heard = asked(served)
    assert answer["stop_reason"]["stop_reason"] == "cancelled"
    assert heard == ["one"]


# -- interrupt and rollback --------------------------------------------------------------------------------------------


async def test_interrupting_message_cancels_the_turn_and_is_answered_next(make_server: Serve) -> None:
    gate = Gate()
    async with make_server(INSERT, gate, "at once", "later") as served:
        agent = await served.agent(memory_blocks=HUMAN)
        one = sending(served, agent["id"], "one")
        await gate.reached.wait()
        two = sending(served, agent["id"], "two")
        await waiting(served, agent["id"], 2)
        three = sending(served, agent["id"], "three", busy_policy="interrupt")
        answers = [await spoken(one), await spoken(three), await spoken(two)]
        runs = await runs_of(served, agent["id"])
        listed = await talk(served, agent["id"])
    assert answers == [["tool_call_message", "tool_return_message"], ["at once"], ["later"]]
    assert [run["status"] for run in runs] == ["cancelled", "completed", "completed"]
    assert [text for kind, text in listed if kind == "user"] == ["one", "three", "two"]


async def test_last_one_to_interrupt_wins(tmp_path: Path) -> None:
    first, second = Gate(), Gate()
    async with serve(tmp_path, [first, second, "mine"]) as served:
        agent = await served.agent()
        tasks = [sending(served, agent["id"], "one")]
        await first.reached.wait()
        tasks.append(sending(served, agent["id"], "two", busy_policy="interrupt"))
        await second.reached.wait()
        tasks.append(sending(served, agent["id"], "three", busy_policy="interrupt"))
        answers = [await spoken(task) for task in tasks]
    assert answers == [[], [], ["mine"]]


async def test_interrupted_tool_call_is_closed_and_the_model_is_told(tmp_path: Path) -> None:
    gate = Gate()
    async with serve(tmp_path) as served:
        other = await served.agent(name="slow")
        agent = await served.agent(include_multi_agent_tools=True)
        ask = Call("send_message_to_agent_and_wait_for_reply", {"other_agent_id": other["id"], "message": "hm?"})
        served.model.play([ask, gate, "fine"])
        one = sending(served, agent["id"], "ask them")
        await gate.reached.wait()
        two = sending(served, agent["id"], "never mind", busy_policy="interrupt")
        answer = await spoken(two)
        await one
        listed = await talk(served, agent["id"])
        gate.open.set()
    assert answer == ["fine"]
    assert [kind for kind, _ in listed] == ["user", "tool_call", "tool_return", "user", "assistant"]
    assert "the run was ended while this tool ran" in listed[2][1]


async def test_rolled_back_turn_leaves_the_window_and_stays_listed_as_an_error(make_server: Serve) -> None:
    gate = Gate()
    async with make_server("hello", INSERT, gate, "instead") as served:
        agent = await served.agent(memory_blocks=HUMAN)
        await post(served, agent["id"], "hi")
        one = sending(served, agent["id"], "wrong words")
        await gate.reached.wait()
        two = sending(served, agent["id"], "right words", busy_policy="rollback")
        answers = [await spoken(one), await spoken(two)]
        heard = asked(served)
        shown, everything = await talk(served, agent["id"]), await talk(served, agent["id"], include_err=True)
        block = (await served.http.get(f"/v1/agents/{agent['id']}/core-memory/blocks/human")).json()
    assert answers == [["tool_call_message", "tool_return_message"], ["instead"]]
    assert heard == ["hi", "right words"]
    assert [text for _, text in shown] == ["hi", "hello", "right words", "instead"]
    assert [text for _, text in everything][2:4] == ["wrong words", "memory_insert"]
    assert block["value"] == "Bob\nTall."


async def test_rolled_back_words_are_not_found_any_more(tmp_path: Path) -> None:
    gate = Gate()
    async with serve(tmp_path, [INSERT, gate, "instead"]) as served:
        agent = await served.agent(memory_blocks=HUMAN)
        one = sending(served, agent["id"], "xylophone")
        await gate.reached.wait()
        before = (await served.http.post("/v1/messages/search", json={"query": "xylophone"})).json()
        await sending(served, agent["id"], "right", busy_policy="rollback")
        await one
        after = (await served.http.post("/v1/messages/search", json={"query": "xylophone"})).json()
    assert len(before) == 1
    assert after == []


async def test_rollback_survives_a_restart(make_server: Serve) -> None:
    gate = Gate()
    async with make_server(INSERT, gate, Gate(), shutdown_grace=0.01) as served:
        agent = await served.agent(memory_blocks=HUMAN)
        url = f"/v1/agents/{agent['id']}/messages/async"
        await served.http.post(url, json=said("wrong"))
        await gate.reached.wait()
        last = (await served.http.post(url, json=said("right", busy_policy="rollback"))).json()
    async with make_server("yes") as served:
        run = await ended(served, last["id"])
        heard = asked(served)
    assert run["status"] == "completed"
    assert heard == ["right"]


# -- while a call waits for a person -----------------------------------------------------------------------------------


async def agent_that_waits(served: Served) -> dict[str, Any]:
    agent = await served.agent(memory_blocks=HUMAN)
    rule = f"/v1/agents/{agent['id']}/tools/approval/memory_insert"
    await served.http.patch(rule, json={"requires_approval": True})
    answer = await post(served, agent["id"], "I am tall")
    assert answer.json()["stop_reason"]["stop_reason"] == "requires_approval"
    return agent


@pytest.mark.parametrize("policy", ["reject", "enqueue", "merge", "steer"])
async def test_call_that_waits_is_answered_before_anything_else(tmp_path: Path, policy: str) -> None:
    async with serve(tmp_path, [INSERT]) as served:
        agent = await agent_that_waits(served)
        answer = await post(served, agent["id"], "hello?", busy_policy=policy)
    assert answer.status_code == 409
    assert answer.json()["detail"]["code"] == "PENDING_APPROVAL"


async def test_interrupting_message_closes_a_call_that_waits(make_server: Serve) -> None:
    async with make_server(INSERT, "never mind then") as served:
        agent = await agent_that_waits(served)
        answer = await post(served, agent["id"], "forget it", busy_policy="interrupt")
        listed = await talk(served, agent["id"])
        state = (await served.http.get(f"/v1/agents/{agent['id']}?include=agent.pending_approval")).json()
    assert answer.json()["messages"][0]["content"] == "never mind then"
    assert [kind for kind, _ in listed] == ["user", "approval_request", "tool_return", "user", "assistant"]
    assert "cancelled before anybody answered" in listed[2][1]
    assert state["pending_approval"] is None


async def test_rollback_takes_back_the_turn_that_waits(make_server: Serve) -> None:
    async with make_server(INSERT, "new start") as served:
        agent = await agent_that_waits(served)
        answer = await post(served, agent["id"], "forget it", busy_policy="rollback")
        listed, heard = await talk(served, agent["id"]), asked(served)
    assert answer.json()["messages"][0]["content"] == "new start"
    assert [text for _, text in listed] == ["forget it", "new start"]
    assert heard == ["forget it"]


async def test_rollback_of_an_answered_call_takes_back_the_whole_turn(tmp_path: Path) -> None:
    gate = Gate()
    async with serve(tmp_path, [INSERT, gate, "new start"]) as served:
        agent = await agent_that_waits(served)
        state = (await served.http.get(f"/v1/agents/{agent['id']}?include=agent.pending_approval")).json()
        call_id = state["pending_approval"]["tool_call"]["tool_call_id"]
        yes = {"type": "approval", "approvals": [{"type": "approval", "tool_call_id": call_id, "approve": True}]}
        url = f"/v1/agents/{agent['id']}/messages"
        going_on = asyncio.create_task(served.http.post(url, json={"messages": [yes]}))
        await gate.reached.wait()
        answer = await post(served, agent["id"], "forget it", busy_policy="rollback")
        await going_on
        listed = await talk(served, agent["id"])
    assert answer.json()["messages"][0]["content"] == "new start"
    assert [text for _, text in listed] == ["forget it", "new start"]


async def test_answers_to_calls_wait_their_turn_whatever_the_policy(tmp_path: Path) -> None:
    async with serve(tmp_path, [INSERT, "noted"]) as served:
        agent = await agent_that_waits(served)
        state = (await served.http.get(f"/v1/agents/{agent['id']}?include=agent.pending_approval")).json()
        call_id = state["pending_approval"]["tool_call"]["tool_call_id"]
        yes = {"type": "approval", "approvals": [{"type": "approval", "tool_call_id": call_id, "approve": True}]}
        body = {"messages": [yes], "busy_policy": "rollback"}
        answer = (await served.http.post(f"/v1/agents/{agent['id']}/messages", json=body)).json()
    assert [m["message_type"] for m in answer["messages"]] == ["tool_return_message", "assistant_message"]


async def test_of_two_contradicting_answers_sent_at_once_the_later_one_is_a_conflict(make_server: Serve) -> None:
    async with make_server(INSERT, "Noted.") as served:
        agent_id, call_id = await waits_for_approval(served)
        answers = await asyncio.gather(*(decide(served, agent_id, call_id, approve) for approve in (True, False)))
        block = (await served.http.get(f"/v1/agents/{agent_id}/core-memory/blocks/human")).json()["value"]
    check_one_was_heard(answers, block)
