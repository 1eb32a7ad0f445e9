"""Groups as data over HTTP, and what their routes refuse."""

from typing import Any

from inline_snapshot import snapshot
from tests.serving import Served

UNKNOWN = "00000000-0000-4000-8000-000000000000"


async def agents(served: Served, *names: str) -> list[str]:
    return [(await served.agent(name=name))["id"] for name in names]


async def make(served: Served, agent_ids: list[str], **fields: Any) -> dict[str, Any]:
    body = {"agent_ids": agent_ids, "description": "team", **fields}
    answer = await served.http.post("/v1/groups/", json=body)
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def ids(served: Served, path: str = "/v1/groups/", **query: Any) -> list[str]:
    return [group["id"] for group in (await served.http.get(path, params=query)).json()]


async def test_group_is_made_read_changed_and_deleted(served: Served) -> None:
    ann, ben = await agents(served, "ann", "ben")
    made = await make(served, [ann, ben, ann])
    path = f"/v1/groups/{made['id']}"
    changes = {
        "description": "new",
        "agent_ids": [ben],
        "manager_config": {"manager_type": "round_robin", "max_turns": 4},
    }
    changed = (await served.http.patch(path, json=changes)).json()
    kept = (await served.http.get(path)).json()
    deleted = await served.http.delete(path)
    gone = await served.http.get(path)
    assert made == {
        "id": made["id"], "manager_type": "round_robin", "agent_ids": [ann, ben], "description": "team",
        "project_id": None, "template_id": None, "base_template_id": None, "deployment_id": None,
        "shared_block_ids": [], "manager_agent_id": None, "termination_token": None, "max_turns": None,
        "sleeptime_agent_frequency": None, "turns_counter": None, "last_processed_message_id": None,
        "max_message_buffer_length": None, "min_message_buffer_length": None, "hidden": False,
    }  # fmt: skip
    assert kept == changed == {**made, "description": "new", "agent_ids": [ben], "max_turns": 4}
    assert (deleted.json(), gone.status_code) == ({"message": f"Group id={made['id']} successfully deleted"}, 404)


async def test_list_is_filtered_ordered_and_paged(served: Served) -> None:
    [ann] = await agents(served, "ann")
    plain = (await make(served, [ann]))["id"]
    led = (await make(served, [], manager_config={"manager_type": "supervisor", "manager_agent_id": ann}))["id"]
    mine = (await make(served, [], project_id="p"))["id"]
    hidden = (await make(served, [], hidden=True))["id"]
    assert await ids(served) == [plain, led, mine]
    assert await ids(served, order="desc", limit=2) == [mine, led]
    assert await ids(served, after=plain) == [led, mine]
    assert await ids(served, manager_type="supervisor") == [led]
    assert await ids(served, project_id="p") == [mine]
    assert await ids(served, show_hidden_groups=True) == [plain, led, mine, hidden]
    assert await ids(served, f"/v1/agents/{ann}/groups") == [plain, led]
    assert await ids(served, f"/v1/agents/{ann}/groups", manager_type="round_robin") == [plain]
    assert (await served.http.get("/v1/groups/count")).json() == 4


async def test_another_manager_brings_its_own_settings(served: Served) -> None:
    ann, boss = await agents(served, "ann", "boss")
    config = {"manager_type": "dynamic", "manager_agent_id": boss, "max_turns": 3, "termination_token": "END"}
    made = await make(served, [ann], manager_config=config)
    path = f"/v1/groups/{made['id']}"
    less = (
        await served.http.patch(path, json={"manager_config": {"manager_type": "dynamic", "max_turns": None}})
    ).json()
    asleep = {"manager_config": {"manager_type": "sleeptime", "manager_agent_id": boss}}
    other = (await served.http.patch(path, json=asleep)).json()
    leaderless = await served.http.patch(path, json={"manager_config": {"manager_type": "supervisor"}})
    assert less == {**made, "max_turns": None}
    assert other == {
        **made,
        "manager_type": "sleeptime",
        "max_turns": None,
        "termination_token": None,
        "sleeptime_agent_frequency": 5,
        "turns_counter": 0,
    }
    assert (leaderless.status_code, "manager_config.manager_agent_id" in leaderless.text) == (422, True)


async def test_shared_blocks_are_attached_to_everybody_and_taken_back(served: Served) -> None:
    ann, boss = await agents(served, "ann", "boss")
    block = (await served.http.post("/v1/blocks/", json={"label": "plan", "value": "x"})).json()["id"]
    config = {"manager_type": "supervisor", "manager_agent_id": boss}
    made = await make(served, [ann], manager_config=config, shared_block_ids=[block])
    during = [(await served.http.get(f"/v1/agents/{id_}")).json()["blocks"] for id_ in (ann, boss)]
    after = (await served.http.patch(f"/v1/groups/{made['id']}", json={"shared_block_ids": []})).json()
    left = [(await served.http.get(f"/v1/agents/{id_}")).json()["blocks"] for id_ in (ann, boss)]
    assert made["shared_block_ids"] == [block]
    assert [[found["id"] for found in mine] for mine in during] == [[block], [block]]
    assert (after["shared_block_ids"], left) == ([], [[], []])


async def test_what_does_not_exist_is_named(served: Served) -> None:
    [ann] = await agents(served, "ann")
    bodies = [
        {"agent_ids": [f"agent-{UNKNOWN}"], "description": "x"},
        {"agent_ids": [], "description": "x", "shared_block_ids": [f"block-{UNKNOWN}"]},
        {
            "agent_ids": [ann],
            "description": "x",
            "manager_config": {"manager_type": "dynamic", "manager_agent_id": f"agent-{UNKNOWN}"},
        },
    ]
    answers = [await served.http.post("/v1/groups/", json=body) for body in bodies]
    path = f"/v1/groups/group-{UNKNOWN}"
    answers += [
        await served.http.post(f"{path}/messages", json={"input": "hi"}),
        await served.http.post(f"{path}/messages/cancel"),
        await served.http.patch(f"{path}/reset-messages"),
        await served.http.patch(path, json={"description": "x"}),
        await served.http.delete(path),
        await served.http.get(f"{path}/messages"),
    ]
    assert [answer.status_code for answer in answers] == [404] * 9
    assert all(UNKNOWN in answer.text for answer in answers)


async def test_what_a_group_cannot_do_is_refused_with_a_reason(served: Served) -> None:
    ann, boss = await agents(served, "ann", "boss")
    team = f"/v1/groups/{(await make(served, [ann]))['id']}/messages"
    voice = {"manager_type": "voice_sleeptime", "manager_agent_id": boss}
    spoken = f"/v1/groups/{(await make(served, [ann], manager_config=voice))['id']}/messages"
    approval = {"messages": [{"type": "approval", "approve": True, "approval_request_id": f"message-{UNKNOWN}"}]}
    answers = {
        "approval": await served.http.post(team, json=approval),
        "background": await served.http.post(f"{team}/stream", json={"input": "x", "background": True}),
        "tokens": await served.http.post(team, json={"input": "x", "stream_tokens": True}),
        "voice": await served.http.post(spoken, json={"input": "x"}),
        "model": await served.http.post(team, json={"input": "x", "override_model": "no model"}),
        "empty": await served.http.post(team, json={}),
        "edit": await served.http.patch(f"{team}/message-{UNKNOWN}", json={}),
        "id": await served.http.get("/v1/groups/one"),
    }
    assert {name: answer.status_code for name, answer in answers.items()} == snapshot(
        {
            "approval": 422,
            "background": 501,
            "tokens": 422,
            "voice": 501,
            "model": 400,
            "empty": 422,
            "edit": 405,
            "id": 422,
        }
    )


async def test_messages_of_a_group_are_listed_once_and_page_by_page(served: Served) -> None:
    ann, ben = await agents(served, "ann", "ben")
    path = f"/v1/groups/{(await make(served, [ann, ben]))['id']}/messages"
    for text in ("echo one", "echo two"):
        assert (await served.http.post(path, json={"input": text})).status_code == 200
    await served.send(ann, "echo besides")
    listed = (await served.http.get(path)).json()
    newest = (await served.http.get(path, params={"limit": 2})).json()
    before = (await served.http.get(path, params={"limit": 2, "before": newest[0]["id"]})).json()
    after = (await served.http.get(path, params={"order": "asc", "limit": 1, "after": listed[0]["id"]})).json()
    assert [(m["message_type"], m["name"]) for m in listed] == [
        ("user_message", None), ("assistant_message", "ann"), ("assistant_message", "ben"),
        ("user_message", None), ("assistant_message", "ann"), ("assistant_message", "ben"),
    ]  # fmt: skip
    assert (newest, before, after) == (listed[4:], listed[2:4], listed[1:2])


async def test_reset_empties_the_windows_and_keeps_what_was_said(served: Served) -> None:
    ann, ben = await agents(served, "ann", "ben")
    path = f"/v1/groups/{(await make(served, [ann, ben]))['id']}"
    await served.http.post(f"{path}/messages", json={"input": "echo one"})
    reset = await served.http.patch(f"{path}/reset-messages")
    windows = [(await served.http.get(f"/v1/agents/{id_}")).json()["message_ids"] for id_ in (ann, ben)]
    listed = (await served.http.get(f"{path}/messages")).json()
    await served.http.post(f"{path}/messages", json={"input": "echo two"})
    seen = [[message.text for message in request.messages] for request in list(served.model.requests)[-2:]]
    assert (reset.status_code, reset.json()) == (200, None)
    assert [len(ids) for ids in windows] == [1, 1]
    assert len(listed) == 3
    assert seen[0] == ["echo two"]
    assert not any("echo one" in text for text in seen[1])


async def test_group_an_agent_leads_is_part_of_its_state(served: Served) -> None:
    ann, boss = await agents(served, "ann", "boss")
    made = await make(served, [ann], manager_config={"manager_type": "dynamic", "manager_agent_id": boss})
    asked = (await served.http.get(f"/v1/agents/{boss}", params={"include": ["agent.managed_group"]})).json()
    without = (await served.http.get(f"/v1/agents/{boss}", params={"include": ["agent.tags"]})).json()
    assert (asked["managed_group"], asked["multi_agent_group"]) == (made, made)
    assert (without["managed_group"], without["multi_agent_group"]) == (None, None)
