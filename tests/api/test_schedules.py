"""`agents.schedule` over HTTP: what can be asked for, what is refused, and that time does what was asked."""

import time
from typing import Any

import pytest
from tests.runtime.test_runner import until
from tests.serving import Served

DAILY = {"type": "recurring", "cron_expression": "0 8 * * *"}
MESSAGES = [{"role": "user", "content": "Good morning."}]


async def make(served: Served, agent_id: str, **fields: Any) -> dict[str, Any]:
    body = {"messages": MESSAGES, "schedule": DAILY, **fields}
    answer = await served.http.post(f"/v1/agents/{agent_id}/schedule", json=body)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def test_a_schedule_is_made_listed_shown_and_deleted(served: Served) -> None:
    agent = await served.agent()
    path = f"/v1/agents/{agent['id']}/schedule"
    made = [await make(served, agent["id"], max_steps=3, include_return_message_types=None) for _ in range(3)]
    first = (await served.http.get(path, params={"limit": "2"})).json()
    rest = (await served.http.get(path, params={"after": made[1]["id"]})).json()
    shown = (await served.http.get(f"{path}/{made[0]['id']}")).json()
    gone = await served.http.delete(f"{path}/{made[0]['id']}")
    missing = await served.http.get(f"{path}/{made[0]['id']}")
    assert [one["id"] for one in first["scheduled_messages"]] == [made[2]["id"], made[1]["id"]]
    assert (first["has_next_page"], rest["has_next_page"]) == (True, False)
    assert rest["scheduled_messages"] == [shown]
    created_at = shown.pop("created_at")
    message = {"type": "message", "role": "user", "content": "Good morning.", "name": None, "otid": None}
    assert shown == {
        "id": made[0]["id"],
        "agent_id": agent["id"],
        "message": {
            "messages": [{**message, "sender_id": None, "group_id": None, "batch_item_id": None}],
            "callback_url": None,
            "include_return_message_types": None,
            "max_steps": 3,
        },
        "schedule": {**DAILY, "timezone": None},
        "next_scheduled_time": made[0]["next_scheduled_at"],
        "when_busy": "enqueue",
        "catch_up": "once",
    }
    assert created_at < made[0]["next_scheduled_at"]
    assert (gone.status_code, gone.json()) == (200, {"success": True})
    assert (missing.status_code, made[0]["id"] in missing.text) == (404, True)


async def test_a_one_time_schedule_sends_its_message_and_history_names_the_run(served: Served) -> None:
    agent = await served.agent()
    at = time.time() * 1000 + 50
    made = await make(served, agent["id"], schedule={"scheduled_at": at})
    path = f"/v1/agents/{agent['id']}/schedule/{made['id']}"

    async def answered() -> bool:
        found = (await served.http.get(f"{path}/occurrences")).json()["occurrences"]
        return bool(found) and found[0]["run_status"] == "completed"

    await until(answered)
    history = (await served.http.get(f"{path}/occurrences")).json()
    [occurrence] = history["occurrences"]
    run = (await served.http.get(f"/v1/runs/{occurrence['run_id']}")).json()
    said = (await served.http.get(f"/v1/runs/{run['id']}/messages")).json()
    shown = (await served.http.get(path)).json()
    assert (occurrence["outcome"], occurrence["missed"], history["has_next_page"]) == ("started", 0, False)
    assert (run["background"], run["metadata"]) == (True, {"run_type": "scheduled_message"})
    assert [message["message_type"] for message in said][:1] == ["user_message"]
    assert said[0]["content"] == "Good morning."
    assert (shown["next_scheduled_time"], shown["schedule"]) == (None, {"type": "one-time", "scheduled_at": at})


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"messages": []}, "messages"),
        ({"schedule": {"scheduled_at": 1_800_000_000}}, "milliseconds"),
        ({"schedule": {"scheduled_at": 1_600_000_000_000}}, "scheduled_at"),
        ({"schedule": {"type": "sometimes"}}, "one-time or recurring"),
        ({"schedule": {"type": "recurring", "cron_expression": "soon"}}, "cron_expression"),
        ({"schedule": {**DAILY, "timezone": "Mars/Base"}}, "timezone"),
        ({"max_steps": 0}, "max_steps"),
        ({"when_busy": "interrupt"}, "when_busy"),
        ({"catch_up": "all"}, "catch_up"),
    ],
)
async def test_what_makes_no_sense_is_refused_by_name(served: Served, fields: dict[str, Any], named: str) -> None:
    agent = await served.agent()
    body = {"messages": MESSAGES, "schedule": DAILY, **fields}
    answer = await served.http.post(f"/v1/agents/{agent['id']}/schedule", json=body)
    assert (answer.status_code, named in answer.text) == (422, True), answer.text


async def test_only_agents_that_exist_have_schedules(served: Served) -> None:
    agent = await served.agent()
    await served.http.delete(f"/v1/agents/{agent['id']}")
    path = f"/v1/agents/{agent['id']}/schedule"
    answers = [
        await served.http.get(path),
        await served.http.post(path, json={"messages": MESSAGES, "schedule": DAILY}),
        await served.http.delete(f"{path}/schedule-00000000-0000-4000-8000-000000000000"),
    ]
    assert [answer.status_code for answer in answers] == [404, 404, 404]
