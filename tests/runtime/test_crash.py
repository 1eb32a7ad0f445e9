"""A killed server: what was acknowledged is there, what was interrupted goes on, and the next message works."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import orjson
import pytest
from tests.cli.process import Process, server

BLOCKS = [{"label": "human", "value": "Bob"}]


def made(http: httpx2.Client) -> str:
    answer = http.post("/v1/agents/", json={"model": "letta/scripted", "memory_blocks": BLOCKS})
    agent_id: str = answer.json()["id"]
    return agent_id


def kill(process: Process) -> None:
    process.running.kill()
    process.end()


def until(check: Callable[[], Any]) -> Any:
    """The first true answer, asked for again and again; ten seconds at most."""
    deadline = time.monotonic() + 10
    while not (found := check()):
        assert time.monotonic() < deadline, "it did not happen"
    return found


def test_acknowledged_steps_survive_a_kill_and_the_next_message_works(tmp_path: Path) -> None:
    with server(tmp_path) as (url, process), httpx2.Client(base_url=url) as http:
        agent_id = made(http)
        said = http.post(f"/v1/agents/{agent_id}/messages", json={"input": "My name is Alice."}).json()
        kill(process)
    with server(tmp_path) as (url, _), httpx2.Client(base_url=url) as http:
        listed = http.get(f"/v1/agents/{agent_id}/messages").json()
        answer = http.post(f"/v1/agents/{agent_id}/messages", json={"input": "What is my name?"}).json()
    assert [message["id"] for message in listed][-len(said["messages"]) :] == [m["id"] for m in said["messages"]]
    assert "Alice" in answer["messages"][-1]["content"]


def test_killed_run_goes_on_after_its_last_step_without_repeating_it(tmp_path: Path) -> None:
    insert = {"call": "memory_insert", "args": {"label": "human", "new_string": "Likes tea."}}
    script = orjson.dumps([insert, [{"wait": 3}, "done"]]).decode()
    with server(tmp_path) as (url, process), httpx2.Client(base_url=url) as http:
        agent_id = made(http)
        run = http.post(f"/v1/agents/{agent_id}/messages/async", json={"input": f"!script {script}"}).json()
        until(lambda: len(http.get(f"/v1/runs/{run['id']}/steps").json()) == 1)
        kill(process)
    with server(tmp_path) as (url, _), httpx2.Client(base_url=url) as http:
        until(lambda: http.get(f"/v1/runs/{run['id']}").json()["status"] == "completed")
        block = http.get(f"/v1/agents/{agent_id}/core-memory/blocks/human").json()
        kinds = [message["message_type"] for message in http.get(f"/v1/runs/{run['id']}/messages").json()]
    assert block["value"] == "Bob\nLikes tea."
    assert kinds == ["user_message", "tool_call_message", "tool_return_message", "assistant_message"]


# Leaves a mark that outlives the server, and does not end the first time.
MARKING = '''
import time

def mark(agent_state):
    """Leave a mark."""
    block = client.agents.blocks.retrieve("human", agent_id=agent_state.id)
    client.agents.blocks.update("human", agent_id=agent_state.id, value=block.value + "!")
    if block.value == "Bob":
        time.sleep(60)
    return "marked"
'''


@pytest.mark.parametrize(
    ("idempotent", "marks", "result"),
    [
        (True, "Bob!!", ("success", "marked")),
        (
            False,
            "Bob!",
            (
                "error",
                (
                    "Error: the server was interrupted while this tool ran. Its outcome is unknown: check before you "
                    "repeat it."
                ),
            ),
        ),
    ],
)
@pytest.mark.parametrize("approved", [False, True], ids=["plain", "approved"])
def test_call_that_a_kill_interrupted_is_made_again_only_where_its_tool_is_idempotent(
    tmp_path: Path, idempotent: bool, marks: str, result: tuple[str, str], approved: bool
) -> None:
    insert = {"call": "memory_insert", "args": {"label": "human", "new_string": "and"}}
    script = orjson.dumps([[{"call": "mark"}, insert], "done"]).decode()

    def value(http: httpx2.Client) -> str:
        found: str = http.get(f"/v1/agents/{agent_id}/core-memory/blocks/human").json()["value"]
        return found

    with server(tmp_path) as (url, process), httpx2.Client(base_url=url) as http:
        agent_id = made(http)
        tool = http.post("/v1/tools/", json={"source_code": MARKING, "idempotent": idempotent}).json()
        assert tool["idempotent"] is idempotent
        http.patch(f"/v1/agents/{agent_id}/tools/attach/{tool['id']}")
        body: dict[str, Any] = {"input": f"!script {script}"}
        if approved:
            http.patch(f"/v1/agents/{agent_id}/tools/approval/mark", json={"requires_approval": True})
            asked = http.post(f"/v1/agents/{agent_id}/messages", json=body).json()["messages"][0]
            decision = {"type": "approval", "tool_call_id": asked["tool_call"]["tool_call_id"], "approve": True}
            also = {"role": "user", "content": "and hurry"}
            body = {"messages": [{"type": "approval", "approvals": [decision]}, also]}
        run = http.post(f"/v1/agents/{agent_id}/messages/async", json=body).json()
        until(lambda: value(http) == "Bob!")
        kill(process)
    with server(tmp_path) as (url, _), httpx2.Client(base_url=url) as http:
        until(lambda: http.get(f"/v1/runs/{run['id']}").json()["status"] == "completed")
        messages = http.get(f"/v1/runs/{run['id']}/messages").json()
        after = value(http)
    returns = [one for message in messages for one in message.get("tool_returns") or ()]
    assert [(one["status"], one["tool_return"]) for one in returns][:1] == [result]
    # What works inside the step's transaction had not happened yet.
    assert (len(returns), returns[1]["status"], after) == (2, "success", f"{marks}\nand")
    said = [message["content"] for message in messages if message["message_type"] == "user_message"]
    assert said == (["and hurry"] if approved else [f"!script {script}"])


def test_kills_while_messages_come_in_lose_none_that_was_acknowledged(tmp_path: Path) -> None:
    acknowledged: list[str] = []
    agent_id = ""

    def talk(http: httpx2.Client) -> None:
        while True:
            try:
                answer = http.post(f"/v1/agents/{agent_id}/messages", json={"input": f"hello {len(acknowledged)}"})
            except httpx2.TransportError:
                return
            acknowledged.append(answer.json()["messages"][-1]["id"])

    for round_number in range(4):
        with server(tmp_path) as (url, process), httpx2.Client(base_url=url, timeout=20) as http:
            agent_id = agent_id or made(http)
            before = len(acknowledged)
            talker = threading.Thread(target=talk, args=(http,))
            talker.start()
            until(lambda: len(acknowledged) >= before + 3 + round_number)  # noqa: B023 - used before the next round
            kill(process)
            talker.join()
    with server(tmp_path) as (url, _), httpx2.Client(base_url=url) as http:
        runs = until(
            lambda: all(
                run["status"] == "completed"
                for run in http.get("/v1/runs/", params={"agent_id": agent_id, "limit": 1000}).json()
            )
        )
        listed = http.get(f"/v1/agents/{agent_id}/messages", params={"limit": 1000}).json()
    stored = [message["id"] for message in listed]
    assert runs
    assert [message_id for message_id in stored if message_id in set(acknowledged)] == acknowledged
    kinds = [message["message_type"] for message in listed[1:]]
    assert kinds == ["user_message", "assistant_message"] * (len(kinds) // 2)
