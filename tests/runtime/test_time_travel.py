"""An agent's past through the front door: read at a step, made again from there, asked again with something changed."""

from pathlib import Path
from typing import Any

from tests.serving import Served, serve

from letta.errors import ModelRateLimit


async def block(served: Served, agent_id: str, label: str = "human") -> str:
    answer = await served.http.get(f"/v1/agents/{agent_id}/core-memory/blocks/{label}")
    return str(answer.json()["value"])


async def steps(served: Served, agent_id: str) -> list[str]:
    """The agent's steps, the oldest first."""
    answer = await served.http.get("/v1/steps", params={"agent_id": agent_id, "order": "asc"})
    return [step["id"] for step in answer.json()]


def said(messages: list[dict[str, Any]]) -> list[str]:
    return [
        message["content"] for message in messages if message["message_type"] in ("user_message", "assistant_message")
    ]


async def talked(served: Served) -> str:
    """An agent that learned a name, and then another one."""
    agent = await served.agent(memory_blocks=[{"label": "human", "value": ""}])
    agent_id = str(agent["id"])
    await served.send(agent_id, "my name is Ann")
    await served.send(agent_id, "echo between")
    await served.http.patch(f"/v1/agents/{agent_id}/core-memory/blocks/human", json={"value": "Name: Bea"})
    await served.http.patch(f"/v1/agents/{agent_id}", json={"system": "Other instructions."})
    await served.send(agent_id, "echo last")
    return agent_id


async def test_agent_is_read_as_it_was_after_any_step(served: Served) -> None:
    agent_id = await talked(served)
    first, *_, last = await steps(served, agent_id)
    then = (await served.http.get(f"/v1/steps/{first}/state")).json()
    now = (await served.http.get(f"/v1/steps/{last}/state")).json()
    assert [one["value"] for one in then["blocks"]] == ["Name: Ann"]
    assert [one["value"] for one in now["blocks"]] == ["Name: Bea"]
    assert "echo between" not in said(then["messages"])
    assert said(then["messages"])[0] == "my name is Ann"
    assert said(now["messages"])[-2] == "echo last"
    assert now["configuration"]["system"] == "Other instructions."
    assert then["configuration"]["system"] != "Other instructions."
    assert (then["agent_id"], then["step_id"], then["missing_blocks"]) == (agent_id, first, [])


async def test_fork_goes_on_from_its_step_and_leaves_the_old_agent_alone(served: Served) -> None:
    agent_id = await talked(served)
    middle = (await steps(served, agent_id))[-2]
    before = (await served.http.get(f"/v1/agents/{agent_id}/messages")).json()
    made = (await served.http.post(f"/v1/steps/{middle}/fork", json={"name": "again"})).json()
    listed = (await served.http.get(f"/v1/agents/{made['id']}/messages")).json()
    await served.send(made["id"], "my name is Cleo")
    request = served.model.requests[-1]
    assert (made["name"], await block(served, made["id"])) == ("again", "Name: Cleo")
    assert said(listed)[-2] == "echo between"
    assert "echo last" not in said(listed)
    assert any("my name is Ann" in message.text for message in request.messages)
    assert await block(served, agent_id) == "Name: Bea"
    assert (await served.http.get(f"/v1/agents/{agent_id}/messages")).json() == before
    assert {tool["name"] for tool in made["tools"]} == {
        tool["name"] for tool in (await served.http.get(f"/v1/agents/{agent_id}")).json()["tools"]
    }


async def test_fork_finds_what_was_said_before_it(served: Served) -> None:
    agent_id = await talked(served)
    made = (await served.http.post(f"/v1/steps/{(await steps(served, agent_id))[-1]}/fork")).json()
    found = await served.http.post("/v1/messages/search", json={"query": "between", "agent_id": made["id"]})
    assert any("between" in str(hit) for hit in found.json())
    assert made["name"].endswith("(fork)")


async def test_run_is_asked_again_of_the_agent_as_it_was_before(served: Served) -> None:
    agent_id = await talked(served)
    runs = (await served.http.get("/v1/runs", params={"agent_id": agent_id, "order": "asc"})).json()
    answer = await served.http.post(f"/v1/runs/{runs[1]['id']}/replay", json={"system": "Be short."})
    replayed = answer.json()
    assert answer.status_code == 200
    assert said(replayed["messages"]) == ["between"]
    assert replayed["agent"]["system"] == "Be short."
    assert await block(served, replayed["agent"]["id"]) == "Name: Ann"
    assert await block(served, agent_id) == "Name: Bea"
    other = {"messages": [{"role": "user", "content": "echo otherwise"}], "name": "other"}
    second = (await served.http.post(f"/v1/runs/{runs[1]['id']}/replay", json=other)).json()
    assert (said(second["messages"]), second["agent"]["name"]) == (["otherwise"], "other")


async def test_replay_says_what_is_wrong_with_messages_as_sending_does(served: Served) -> None:
    agent = await served.agent()
    await served.send(agent["id"], "echo hello")
    [run] = (await served.http.get("/v1/runs/", params={"agent_id": agent["id"]})).json()
    for wrong in ([], [{"role": "nobody", "content": "hi"}], [{"role": "user"}]):
        sent = await served.http.post(f"/v1/agents/{agent['id']}/messages", json={"messages": wrong})
        replayed = await served.http.post(f"/v1/runs/{run['id']}/replay", json={"messages": wrong})
        assert (replayed.status_code, replayed.json()) == (422, sent.json())
    assert (await served.http.get("/v1/agents/count")).json() == 1


async def test_compacted_window_is_the_one_of_the_step(tmp_path: Path) -> None:
    async with serve(tmp_path) as served:
        agent = await served.agent()
        for number in range(6):
            await served.send(agent["id"], f"echo number {number}")
        settings = {"compaction_settings": {"mode": "all"}}
        compacted = await served.http.post(f"/v1/agents/{agent['id']}/summarize", json=settings)
        assert compacted.status_code == 200, compacted.text
        await served.send(agent["id"], "echo after")
        done = await steps(served, agent["id"])
        early = (await served.http.get(f"/v1/steps/{done[2]}/state")).json()
        late = (await served.http.get(f"/v1/steps/{done[-1]}/state")).json()
        made = (await served.http.post(f"/v1/steps/{done[-1]}/fork")).json()
        await served.send(made["id"], "echo of the fork")
        shown = [message.text for message in served.model.requests[-1].messages]
    assert said(early["messages"])[-2:] == ["echo number 2", "number 2"]
    _, kept, *rest = [message["content"] for message in late["messages"]]
    assert (kept, rest) == ("number 5", ["echo after", "after"])
    assert "summary" in shown[0]
    assert not any(text == "echo number 0" for text in shown)


async def test_waiting_approval_waits_in_the_fork_too(served: Served) -> None:
    agent = await served.agent(memory_blocks=[{"label": "human", "value": ""}])
    path = f"/v1/agents/{agent['id']}"
    await served.http.patch(f"{path}/tools/approval/memory_insert", json={"requires_approval": True})
    await served.http.patch(f"{path}/tools/approval/core_memory_append", json={"requires_approval": True})
    await served.send(agent["id"], "my name is Ann")
    state = (await served.http.get(path)).json()
    made = (await served.http.post(f"/v1/steps/{(await steps(served, agent['id']))[-1]}/fork")).json()
    assert state["pending_approval"] is not None
    call = made["pending_approval"]["tool_call"]
    approval = {
        "type": "approval",
        "approvals": [{"type": "approval", "tool_call_id": call["tool_call_id"], "approve": True}],
    }
    answer = await served.http.post(f"/v1/agents/{made['id']}/messages", json={"messages": [approval]})
    assert answer.status_code == 200, answer.text
    assert await block(served, made["id"]) != ""
    assert await block(served, agent["id"]) == ""


async def test_what_is_not_there_any_more_is_named(served: Served) -> None:
    agent_id = await talked(served)
    step = (await steps(served, agent_id))[-1]
    [block_id] = [one["id"] for one in (await served.http.get(f"/v1/agents/{agent_id}")).json()["blocks"]]
    await served.http.delete(f"/v1/blocks/{block_id}")
    read = (await served.http.get(f"/v1/steps/{step}/state")).json()
    refused = await served.http.post(f"/v1/steps/{step}/fork")
    assert read["missing_blocks"] == [block_id]
    assert (refused.status_code, block_id in refused.json()["detail"]) == (409, True)


async def test_unknown_steps_runs_and_models_are_explained(served: Served) -> None:
    agent_id = await talked(served)
    step, nowhere = (await steps(served, agent_id))[-1], "00000000-0000-4000-8000-000000000000"
    count = (await served.http.get("/v1/agents/count")).json()
    answers = [
        await served.http.get(f"/v1/steps/step-{nowhere}/state"),
        await served.http.post(f"/v1/steps/step-{nowhere}/fork"),
        await served.http.post(f"/v1/runs/run-{nowhere}/replay"),
        await served.http.post(f"/v1/steps/{step}/fork", json={"model": 5}),
    ]
    assert [answer.status_code for answer in answers] == [404, 404, 404, 422]
    assert (await served.http.get("/v1/agents/count")).json() == count


async def test_fork_with_an_unknown_model_makes_nothing(tmp_path: Path) -> None:
    async with serve(tmp_path, scripted_models=False) as served:
        agent = await served.agent()
        await served.send(agent["id"], "echo hello")
        [step] = await steps(served, agent["id"])
        answer = await served.http.post(f"/v1/steps/{step}/fork", json={"model": "nobody/nothing"})
        assert answer.status_code in (400, 404), answer.text
        assert "nobody" in answer.json()["detail"]
        assert (await served.http.get("/v1/agents/count")).json() == 1


async def test_failed_step_is_no_point_to_go_back_to(tmp_path: Path) -> None:
    async with serve(tmp_path, [ModelRateLimit("slow down")] * 9) as served:
        agent = await served.agent()
        failed = await served.http.post(f"/v1/agents/{agent['id']}/messages", json={"input": "hello"})
        [step] = await steps(served, agent["id"])
        [run] = (await served.http.get("/v1/runs", params={"agent_id": agent["id"]})).json()
        read = await served.http.get(f"/v1/steps/{step}/state")
        replayed = await served.http.post(f"/v1/runs/{run['id']}/replay")
    assert failed.status_code == 429
    assert (read.status_code, replayed.status_code) == (409, 409)
