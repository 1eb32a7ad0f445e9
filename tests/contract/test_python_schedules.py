"""The newest Python SDK in its strict mode: schedules. And batches with the client of version 1.0.0, which has them."""

import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from letta_client import Letta, NotFoundError
from tests.contract.calls import call, plain
from tests.contract.process import ServerProcess
from tests.contract.test_older_sdks import SDK, installed

MESSAGES: list[dict[str, Any]] = [
    {"role": "user", "content": [{"type": "text", "text": "Good morning."}], "otid": "one", "type": "message"}
]


def test_every_call_of_schedules_with_every_parameter(client: Letta) -> None:
    agent = client.agents.create(model="letta/scripted", timezone="Europe/Berlin")
    schedule = client.agents.schedule
    made = [
        call(
            schedule.create,
            agent_id=agent.id,
            messages=MESSAGES,
            schedule={"type": "recurring", "cron_expression": "30 8 * * 1-5"},
            callback_url="http://localhost:9/called",
            include_return_message_types=["assistant_message"],
            max_steps=3.0,
        )
        for _ in range(2)
    ]
    assert made[0].next_scheduled_at is not None
    next_at = datetime.fromisoformat(made[0].next_scheduled_at)
    assert next_at > datetime.now(UTC)
    page = call(schedule.list, agent_id=agent.id, limit="1", unset={"after"})
    rest = call(schedule.list, agent_id=agent.id, limit="10", after=page.scheduled_messages[0].id)
    assert (page.has_next_page, rest.has_next_page) == (True, False)
    assert [one.id for one in (*page.scheduled_messages, *rest.scheduled_messages)] == [made[1].id, made[0].id]
    shown = call(schedule.retrieve, agent_id=agent.id, scheduled_message_id=made[0].id)
    assert plain(shown)["message"]["messages"][0]["content"][0]["text"] == "Good morning."
    assert plain(shown)["schedule"]["cron_expression"] == "30 8 * * 1-5"
    assert (shown.message.max_steps, shown.next_scheduled_time) == (3, made[0].next_scheduled_at)
    assert call(schedule.delete, agent_id=agent.id, scheduled_message_id=made[0].id).success is True
    with pytest.raises(NotFoundError):
        schedule.retrieve(made[0].id, agent_id=agent.id)


def test_a_one_time_schedule_is_carried_out(client: Letta) -> None:
    agent = client.agents.create(model="letta/scripted")
    client.agents.schedule.create(
        agent.id, messages=[{"role": "user", "content": "echo now"}], schedule={"scheduled_at": time.time() * 1000}
    )
    deadline = time.monotonic() + 30
    while not (runs := client.runs.list(agent_id=agent.id, statuses=["completed"]).items):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    said = [message for message in client.runs.messages.list(runs[0].id) if message.message_type == "assistant_message"]
    assert [plain(message)["content"] for message in said] == ["now"]


def test_script_for_batches_of_1_0_0_sees_what_it_expects(server: ServerProcess) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", SDK / "batches_1_0_0.py", server.url],
        env={**os.environ, "PYTHONPATH": str(installed("1.0.0"))},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "made": ["batch", True],
        "ended": ["completed", True],
        "listed": True,
        "said": [["assistant", "one"], ["assistant", "two"]],
        "of_one": ["two"],
        "cancelled": "cancelled",
    }
