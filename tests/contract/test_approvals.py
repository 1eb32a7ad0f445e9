"""Calls that wait, through both official SDKs: several at once, denied with a reason, answered twice, cancelled."""

import json
import subprocess
from typing import Any

import pytest
from letta_client import ConflictError, Letta
from tests.contract.calls import plain
from tests.contract.process import ServerProcess
from tests.contract.test_typescript import SDK, node

__all__ = ["node"]

DENIED = "Error: the user denied this call. Reason: once is enough"


def script(*steps: Any) -> str:
    return f"!script {json.dumps(steps)}"


def insert(text: str) -> dict[str, Any]:
    return {"call": "memory_insert", "args": {"label": "human", "new_string": text}}


def kinds(messages: Any) -> list[str]:
    return [message.message_type for message in messages]


def test_python_sdk_answers_calls_that_wait_together(client: Letta) -> None:
    agent = client.agents.create(model="openai/gpt-4o-mini", memory_blocks=[{"label": "human", "value": ""}])
    client.agents.tools.update_approval("memory_insert", agent_id=agent.id, body_requires_approval=True)
    search = {"call": "conversation_search", "args": {"query": "x"}}
    asked = client.agents.messages.create(agent.id, input=script([insert("one"), search, insert("two")], "Settled."))
    request = plain(next(one for one in asked.messages if one.message_type == "approval_request_message"))
    with pytest.raises(ConflictError):
        client.agents.messages.create(agent.id, input="hello?")
    answers: list[dict[str, Any]] = [{"approve": True}, {"approve": False, "reason": "once is enough"}]
    message: Any = {
        "type": "approval",
        "approvals": [
            {"type": "approval", "tool_call_id": call["tool_call_id"], **answer}
            for call, answer in zip(request["tool_calls"], answers, strict=True)
        ],
    }
    frames: list[Any] = list(
        client.agents.messages.create(agent.id, messages=[message], streaming=True, include_pings=False)
    )
    assert kinds(frames) == ["tool_return_message", "assistant_message", "stop_reason", "usage_statistics"]
    results = plain(frames[0])["tool_returns"]
    assert [result["status"] for result in results] == ["success", "success", "error"]
    assert results[2]["tool_return"] == DENIED
    again = client.agents.messages.create(agent.id, messages=[message])
    assert again.messages == []
    assert client.agents.blocks.retrieve("human", agent_id=agent.id).value == "one"
    client.agents.messages.create(agent.id, input=script(insert("three"), "Done."))
    assert list(client.agents.messages.cancel(agent.id).values()) == ["cancelled"]
    assert kinds(client.agents.messages.create(agent.id, input="echo free").messages) == ["assistant_message"]
    client.agents.delete(agent.id)


def test_typescript_sdk_answers_calls_that_wait(node: str, server: ServerProcess) -> None:
    done = subprocess.run(
        [node, SDK / "approvals.mjs", server.url], capture_output=True, text=True, timeout=180, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "asked": ["requires_approval", 2],
        "blocked": [True, "PENDING_APPROVAL", True],
        "pending": True,
        "answered": ["tool_return_message", "assistant_message", "stop_reason", "usage_statistics"],
        "results": ["success", "success", "error"],
        "reason": DENIED,
        "value": "one",
        "again": [0, "one"],
        "pieces": [1, ["stop_reason", "usage_statistics"]],
        "older": [["tool_return_message", "assistant_message"], "one\nthree"],
        "client": [["approval_request_message"], ["tool_return_message", "assistant_message"], "blue"],
        "cancelled": ["cancelled"],
        "free": ["assistant_message"],
    }
