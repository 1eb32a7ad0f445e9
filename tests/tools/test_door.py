"""What a tool can ask of the server through its `client`, and what it cannot."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.serving import Served, serve

# The official client writes addresses properly; this one writes what it is given.
ASKING = '''
def ask(requests: str) -> str:
    """Send requests as they are.

    Args:
        requests: A list of method, path and body.
    """
    import json
    client.agents.list(limit=1)
    import letta_tool_client
    told = []
    for method, path, body in json.loads(requests):
        head = {"content-type": "application/json"}
        status, _, data = letta_tool_client.exchange(method, path, head, json.dumps(body).encode())
        told.append([status, data.decode()])
    return json.dumps(told)
'''
STDIO = {"mcp_server_type": "stdio", "command": "/bin/true", "args": []}
CLOSED = ("tools", "mcp-servers", "providers", "sandbox-config", "git", "agents/import", "agents/agent-1/tools/f/run")
DISGUISES = ("", "/", "#x", "?x", "/#x", ";x", "/.", "/x/..", "%23x", "%2F", "%3Fx", "\\", "/%2e", "/\u00e9")


async def asked(served: Served, requests: list[tuple[str, str, Any]], **agent: Any) -> list[tuple[int, str]]:
    """What the server answers a tool."""
    tool = (await served.http.put("/v1/tools/", json={"source_code": ASKING})).json()
    made = await served.agent(tool_ids=[tool["id"]], include_base_tools=False, **agent)
    path = f"/v1/agents/{made['id']}/tools/ask/run"
    answer = await served.http.post(path, json={"args": {"requests": json.dumps(requests)}})
    assert answer.json()["status"] == "success", answer.text
    return [(status, text) for status, text in json.loads(answer.json()["func_return"])]


async def test_what_would_let_a_tool_out_is_closed_however_it_is_written(served: Served) -> None:
    before = (await served.http.get("/v1/mcp-servers/")).json(), (await served.http.get("/v1/providers/")).json()
    paths = [f"/v1/{closed}{disguise}" for closed in CLOSED for disguise in DISGUISES]
    paths += [
        "/v1//tools",
        "//v1/tools",
        "/v1/./tools",
        "/v1/x/../tools",
        "/v1/%74ools",
        "/latest/tools",
        "/v1/%6dcp-servers",
    ]
    body = {"server_name": "pwn", "config": STDIO, "source_code": "def f(): return 1"}
    answers = await asked(served, [(method, path, body) for path in paths for method in ("POST", "PUT")])
    assert {status for status, _ in answers} <= {400, 403, 404, 405, 422}
    after = (await served.http.get("/v1/mcp-servers/")).json(), (await served.http.get("/v1/providers/")).json()
    assert after == before
    assert "f" not in {tool["name"] for tool in (await served.http.get("/v1/tools/?limit=100")).json()}


@pytest.mark.parametrize("path", ["/v1/mcp-servers", "/v1/mcp-servers#x", "/v1/%6dcp-servers/", "/v1//mcp-servers"])
async def test_a_closed_path_says_why(served: Served, path: str) -> None:
    [(status, text)] = await asked(served, [("POST", path, {"server_name": "pwn", "config": STDIO})])
    assert (status, json.loads(text)["detail"]) == (
        403,
        "POST /v1/mcp-servers is closed to tools: it would let them run code outside of their sandbox",
    )


async def test_what_cannot_be_read_is_answered_and_the_next_request_too(served: Served) -> None:
    unreadable = ["/v1/agents/\n", "/v1/to\tols", "http://[", ""]
    requests: list[tuple[str, str, Any]] = [("POST", path, {}) for path in unreadable]
    *bad, good = await asked(served, [*requests, ("GET", "/v1/health", None)])
    assert {status for status, _ in bad} <= {400, 403, 404, 405}
    assert good[0] == 200


async def test_blocks_are_found_by_labels_of_any_script(served: Served) -> None:
    blocks = [{"label": label, "value": label.upper()} for label in ("my notes", "größe")]
    source = """
def labels(agent_state) -> list:
    return [client.agents.blocks.retrieve(label, agent_id=agent_state.id).value for label in ("my notes", "größe")]
"""
    tool = (await served.http.put("/v1/tools/", json={"source_code": source})).json()
    agent = await served.agent(memory_blocks=blocks, tool_ids=[tool["id"]])
    answer = await served.http.post(f"/v1/agents/{agent['id']}/tools/labels/run", json={"args": {}})
    assert answer.json()["func_return"] == ["MY NOTES", "GRÖSSE"]


@pytest.mark.parametrize(
    "body",
    [
        {"input": "x", "callback_url": "http://127.0.0.1:1/"},
        {"requests": [{"agent_id": "agent-1", "callback_url": "http://127.0.0.1:1/"}]},
    ],
)
async def test_a_tool_cannot_have_the_server_call_an_address(served: Served, body: dict[str, Any]) -> None:
    [(status, text)] = await asked(served, [("POST", "/v1/agents/agent-1/messages/async", body)])
    assert status == 403
    assert "callback_url is closed to tools" in text


TALKING = '''
def tell(agent_id: str, text: str) -> str:
    """Say something to an agent and wait for the answer.

    Args:
        agent_id: Who to talk to.
        text: What to say.
    """
    try:
        said = client.agents.messages.create(agent_id, input=text).messages
        return "; ".join(str(getattr(one, "tool_return", None) or getattr(one, "content", "")) for one in said)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
'''


async def test_an_agent_that_waits_for_a_tool_is_not_waited_for_by_it(tmp_path: Path) -> None:
    async with serve(tmp_path) as served:
        tool = (await served.http.put("/v1/tools/", json={"source_code": TALKING})).json()
        first, second = [await served.agent(tool_ids=[tool["id"]]) for _ in range(2)]

        def telling(other: dict[str, Any], text: str) -> str:
            return "!script " + json.dumps([{"call": "tell", "args": {"agent_id": other["id"], "text": text}}, "ok"])

        async def told(text: str) -> str:
            said = await served.send(first["id"], text)
            [result] = [one for one in said["messages"] if one["message_type"] == "tool_return_message"]
            answer: str = result["tool_return"]
            return answer

        assert await told(telling(second, "echo hello")) == "hello"
        refusal = f"{first['id']} waits for this tool"
        assert refusal in await told(telling(first, "echo hello"))
        assert refusal in await told(telling(second, telling(first, "echo hello")))
