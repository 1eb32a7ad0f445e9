"""Sleep-time memory: an agent that thinks about what was said to another, in the background."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.runtime.test_runner import Gate, until
from tests.serving import Served, serve

from letta.models.protocol import ModelRequest
from letta.models.scripted import Call
from letta.schemas.messages import Role

FINISH = Call("memory_finish_edits")
BLOCKS = [{"label": "human", "value": "Nothing is known."}, {"label": "persona", "value": "I am kind."}]


async def main_agent(served: Served, frequency: int = 1, **fields: Any) -> dict[str, Any]:
    agent = await served.agent(name="Ada", enable_sleeptime=True, memory_blocks=BLOCKS, **fields)
    await every(served, agent["managed_group"]["id"], frequency)
    return agent


async def every(served: Served, group_id: str, turns: int) -> None:
    config = {"manager_type": "sleeptime", "sleeptime_agent_frequency": turns}
    answer = await served.http.patch(f"/v1/groups/{group_id}", json={"manager_config": config})
    assert answer.status_code == 200, answer.text


def asleep(agent: dict[str, Any]) -> str:
    [found] = agent["managed_group"]["agent_ids"]
    return str(found)


async def runs_of(served: Served, agent_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await served.http.get("/v1/runs/", params={"agent_id": agent_id})).json()
    return found[::-1]


async def has_ended(served: Served, agent_id: str, count: int = 1) -> None:
    async def ended() -> bool:
        found = [run["status"] in ("completed", "failed") for run in await runs_of(served, agent_id)]
        return bool(found == [True] * count)

    await until(ended)


def labels(agent: dict[str, Any]) -> list[str]:
    return [block["label"] for block in agent["blocks"]]


async def read(served: Served, agent_id: str) -> dict[str, Any]:
    found: dict[str, Any] = (await served.http.get(f"/v1/agents/{agent_id}")).json()
    return found


def last_user_text(request: ModelRequest) -> str:
    return next(message.text for message in reversed(request.messages) if message.role is Role.USER)


def said_in(handed: str) -> list[str]:
    """What a hand-over tells, without the times."""
    return [part.partition("] ")[2].replace(":\n", ": ") for part in handed.split("\n\n")[1:]]


async def test_enabling_makes_a_second_agent_with_the_same_blocks_and_a_group(served: Served) -> None:
    agent = await served.agent(name="Ada", enable_sleeptime=True, memory_blocks=BLOCKS)
    other, group = await read(served, asleep(agent)), agent["managed_group"]
    assert (other["name"], other["agent_type"], other["model"]) == ("Ada-sleeptime", "sleeptime_agent", agent["model"])
    assert [block["id"] for block in other["blocks"]] == [block["id"] for block in agent["blocks"]]
    assert {tool["name"] for tool in other["tools"]} == {
        "memory_replace", "memory_insert", "memory_rethink", "memory_finish_edits",
    }  # fmt: skip
    assert {key: value for key, value in group.items() if value is not None} == {
        "id": group["id"],
        "manager_type": "sleeptime",
        "manager_agent_id": agent["id"],
        "agent_ids": [other["id"]],
        "description": "Keeps the memory of Ada in order",
        "shared_block_ids": [block["id"] for block in agent["blocks"]],
        "sleeptime_agent_frequency": 5,
        "turns_counter": 0,
        "hidden": False,
    }
    assert agent["multi_agent_group"] == group
    assert agent["enable_sleeptime"] is True


async def test_older_agents_with_sleep_time_leave_their_blocks_to_the_other(served: Served) -> None:
    agent = await served.agent(enable_sleeptime=True, agent_type="memgpt_agent")
    assert not {tool["name"] for tool in agent["tools"]} & {"core_memory_append", "memory", "memory_apply_patch"}
    assert {tool["name"] for tool in agent["tools"]} >= {"send_message", "conversation_search"}


async def test_memory_edited_in_the_background_is_in_the_next_request(tmp_path: Path) -> None:
    edit = Call("memory_replace", {"label": "human", "old_string": "Nothing is known.", "new_string": "Name: Bob"})
    async with serve(tmp_path, ["Hello Bob.", edit, FINISH, "Of course."]) as served:
        agent = await main_agent(served)
        first = await served.send(agent["id"], "I am Bob.")
        await has_ended(served, asleep(agent))
        await served.send(agent["id"], "Do you know me?")
        [run] = [run for run in await runs_of(served, asleep(agent)) if run["status"] == "completed"]
        handed = last_user_text(served.model.requests[1])
        history = (await served.http.get(f"/v1/blocks/{agent['blocks'][0]['id']}")).json()
    assert first["messages"][-1]["content"] == "Hello Bob."
    assert handed.splitlines()[0].startswith("This was said in the conversations of agent 'Ada' since last time.")
    assert said_in(handed) == ["user: I am Bob.", "assistant: Hello Bob."]
    assert "Name: Bob" in "".join(served.model.requests[3].system)
    assert (run["background"], history["value"]) == (True, "Name: Bob")


async def test_hand_over_happens_every_few_turns_and_carries_only_what_is_new(tmp_path: Path) -> None:
    async with serve(tmp_path, ["a", "b", FINISH, "c", "d", FINISH]) as served:
        agent = await main_agent(served, frequency=2)
        await served.send(agent["id"], "one")

        async def counted() -> bool:
            return bool((await read(served, agent["id"]))["managed_group"]["turns_counter"] == 1)

        await until(counted)
        early = await runs_of(served, asleep(agent))
        await served.send(agent["id"], "two")
        await has_ended(served, asleep(agent), 1)
        await served.send(agent["id"], "three")
        await served.send(agent["id"], "four")
        await has_ended(served, asleep(agent), 2)
        group = (await read(served, agent["id"]))["managed_group"]
        newest = (await served.http.get(f"/v1/agents/{agent['id']}/messages")).json()[-1]
    assert early == []
    handed = [last_user_text(served.model.requests[number]) for number in (2, 5)]
    assert [said_in(text) for text in handed] == [
        ["user: one", "assistant: a", "user: two", "assistant: b"],
        ["user: three", "assistant: c", "user: four", "assistant: d"],
    ]
    assert (group["turns_counter"], group["last_processed_message_id"]) == (0, newest["id"])


async def test_reply_does_not_wait_and_what_is_said_meanwhile_is_handed_over_together(tmp_path: Path) -> None:
    gate = Gate(FINISH)
    async with serve(tmp_path, ["a", gate, "b", "c", FINISH]) as served:
        agent = await main_agent(served)
        await served.send(agent["id"], "one")
        await gate.reached.wait()
        await served.send(agent["id"], "two")
        last = await served.send(agent["id"], "three")
        meanwhile = await runs_of(served, asleep(agent))
        gate.open.set()
        await has_ended(served, asleep(agent), 2)
    handed = last_user_text(served.model.requests[4])
    assert last["messages"][-1]["content"] == "c"
    assert [run["status"] for run in meanwhile] == ["running"]
    assert said_in(handed) == [
        "user: two", "assistant: b", "user: three", "assistant: c",
    ]  # fmt: skip


async def test_tools_are_left_out_of_what_is_handed_over(tmp_path: Path) -> None:
    search = Call("conversation_search", {"query": "cats"})
    async with serve(tmp_path, [search, "No cats.", FINISH]) as served:
        agent = await main_agent(served)
        await served.send(agent["id"], "Cats?")
        await has_ended(served, asleep(agent))
    handed = last_user_text(served.model.requests[2])
    assert said_in(handed) == ["user: Cats?", "assistant: No cats."]


async def test_failed_hand_over_is_repeated_and_never_seen_by_the_main_agent(tmp_path: Path) -> None:
    failing = Call("memory_finish_edits", "{}")
    async with serve(tmp_path, ["a", RuntimeError("no luck"), "b", failing]) as served:
        agent = await main_agent(served)
        first = await served.send(agent["id"], "one")
        await has_ended(served, asleep(agent), 1)

        async def taken_back() -> bool:
            return (await read(served, agent["id"]))["managed_group"]["last_processed_message_id"] is None

        await until(taken_back)
        await served.send(agent["id"], "two")
        await has_ended(served, asleep(agent), 2)
        statuses = [run["status"] for run in await runs_of(served, asleep(agent))]
    handed = last_user_text(served.model.requests[3])
    assert first["stop_reason"]["stop_reason"] == "end_turn"
    assert statuses == ["failed", "completed"]
    assert said_in(handed) == [
        "user: one", "assistant: a", "user: two", "assistant: b",
    ]  # fmt: skip


async def test_what_could_not_be_handed_over_is_handed_over_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marks: list[Any] = []

    async def taken_back() -> bool:
        return len(marks) == 3  # after the first turn one; after the second one, and back

    async with serve(tmp_path, ["One.", FINISH, "Two."]) as served:
        write = served.parts.database.write

        async def noted(function: Any, /, *args: Any, **kwargs: Any) -> Any:
            done = await write(function, *args, **kwargs)
            if function.__qualname__ == "mark_processed":
                marks.append(args)
            return done

        monkeypatch.setattr(served.parts.database, "write", noted)
        agent = await main_agent(served)
        other = asleep(agent)
        rule = f"/v1/agents/{other}/tools/approval/memory_finish_edits"
        await served.http.patch(rule, json={"requires_approval": True})
        await served.send(agent["id"], "My name is Bob.")
        await has_ended(served, other)
        await served.send(agent["id"], "I am tall.")
        await until(taken_back)
        await served.http.post(f"/v1/agents/{other}/messages/cancel", json={})
        served.model.play(["Four.", FINISH])
        await served.send(agent["id"], "I like tea.")
        await has_ended(served, other, 2)
        handed = said_in(last_user_text(served.model.requests[-1]))
    assert [line for line in handed if line.startswith("user")] == ["user: I am tall.", "user: I like tea."]


async def test_both_agents_have_the_same_blocks_whoever_changes_them(served: Served) -> None:
    agent = await served.agent(enable_sleeptime=True, memory_blocks=BLOCKS)
    other, prefix = asleep(agent), f"/v1/agents/{agent['id']}/core-memory/blocks"
    extra = (await served.http.post("/v1/blocks/", json={"label": "notes", "value": "x"})).json()["id"]
    await served.http.patch(f"{prefix}/attach/{extra}")
    attached = labels(await read(served, other))
    await served.http.patch(f"{prefix}/detach/{extra}")
    detached = labels(await read(served, other))
    await served.http.patch(f"/v1/agents/{agent['id']}", json={"block_ids": [extra]})
    replaced = labels(await read(served, other))
    call = '{"call": "memory_rethink", "args": {"label": "new", "new_memory": "y"}}'
    await served.send(other, f'!script [{call}, "done"]')
    made = labels(await read(served, agent["id"]))
    assert attached == ["human", "persona", "notes"]
    assert detached == ["human", "persona"]
    assert replaced == ["notes"]
    assert made == ["notes", "new"]


async def test_disabling_deletes_the_other_agent_and_the_group_and_keeps_the_blocks(served: Served) -> None:
    agent = await served.agent(enable_sleeptime=True, memory_blocks=BLOCKS)
    path = f"/v1/agents/{agent['id']}"
    off = (await served.http.patch(path, json={"enable_sleeptime": False})).json()
    gone = [
        (await served.http.get(f"/v1/agents/{asleep(agent)}")).status_code,
        (await served.http.get(f"/v1/groups/{agent['managed_group']['id']}")).status_code,
    ]
    on = (await served.http.patch(path, json={"enable_sleeptime": True})).json()
    again = (await served.http.patch(path, json={"enable_sleeptime": True})).json()
    assert (off["enable_sleeptime"], off["managed_group"], labels(off)) == (False, None, ["human", "persona"])
    assert gone == [404, 404]
    assert labels(await read(served, asleep(on))) == ["human", "persona"]
    assert again["managed_group"]["id"] == on["managed_group"]["id"]


async def test_deleting_the_agent_deletes_the_other_in_the_middle_of_its_work(tmp_path: Path) -> None:
    gate = Gate()
    async with serve(tmp_path, ["a", gate]) as served:
        agent = await main_agent(served)
        await served.send(agent["id"], "one")
        await gate.reached.wait()
        deleted = await served.http.delete(f"/v1/agents/{agent['id']}")
        left = (await served.http.get("/v1/agents/")).json(), (await served.http.get("/v1/groups/")).json()
        blocks = (await served.http.get("/v1/blocks/")).json()
    assert (deleted.status_code, left, len(blocks)) == (200, ([], []), 2)


async def test_deleting_the_other_agent_or_the_group_turns_it_off(served: Served) -> None:
    first = await served.agent(enable_sleeptime=True)
    second = await served.agent(enable_sleeptime=True)
    await served.http.delete(f"/v1/agents/{asleep(first)}")
    await served.http.delete(f"/v1/groups/{second['managed_group']['id']}")
    after = [await read(served, agent["id"]) for agent in (first, second)]
    listed = (await served.http.get("/v1/agents/")).json()
    assert [(agent["enable_sleeptime"], agent["managed_group"]) for agent in after] == [(False, None)] * 2
    assert {agent["id"] for agent in listed} == {first["id"], second["id"]}


async def test_group_of_the_two_is_changed_through_the_agent_only(served: Served) -> None:
    agent = await served.agent(enable_sleeptime=True)
    path = f"/v1/groups/{agent['managed_group']['id']}"
    bodies: list[dict[str, Any]] = [
        {"agent_ids": []},
        {"manager_config": {"manager_type": "round_robin"}},
        {"description": "mine"},
    ]
    answers = [await served.http.patch(path, json=body) for body in bodies]
    assert [answer.status_code for answer in answers] == [409, 409, 200]
    assert "enable_sleeptime" in answers[0].text


async def test_sleep_time_agents_have_none_themselves(served: Served) -> None:
    body: dict[str, Any] = {"model": "letta/scripted", "agent_type": "sleeptime_agent", "enable_sleeptime": True}
    answer = await served.http.post("/v1/agents/", json=body)
    assert (answer.status_code, "enable_sleeptime" in answer.text) == (422, True)


async def test_hooks_that_wait_do_not_hold_up_the_end_of_the_server(tmp_path: Path) -> None:
    gate = Gate()
    async with asyncio.timeout(20):
        async with serve(tmp_path, ["a", gate], shutdown_grace=0.1) as served:
            agent = await main_agent(served)
            await served.send(agent["id"], "one")
            await gate.reached.wait()
        async with serve(tmp_path, [FINISH]) as served:
            await has_ended(served, asleep(agent))
