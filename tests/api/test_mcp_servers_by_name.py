"""`/v1/tools/mcp`: MCP servers by their names, as SDK 0.1.x calls them."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.serving import Served
from tests.tools.mcp_processes import McpProcess, mcp_process

SERVERS = "/v1/tools/mcp/servers"
NAMES = ["add", "die", "fail", "hang", "long", "picture", "seen", "slow"]


@pytest.fixture
async def process(tmp_path: Path) -> AsyncIterator[McpProcess]:
    async with mcp_process("streamable_http", tmp_path / "mcp") as running:
        yield running


def form(process: McpProcess, **fields: Any) -> dict[str, Any]:
    return {"server_name": "demo", "type": "streamable_http", "server_url": process.url, **fields}


async def test_server_is_put_listed_changed_and_deleted(served: Served, process: McpProcess) -> None:
    shown = {**form(process), "auth_header": "X-Key", "auth_token": "********", "custom_headers": None}
    put = await served.http.put(SERVERS, json=form(process, auth_header="X-Key", auth_token="first-secret"))
    assert (put.status_code, put.json()) == (200, [shown])
    assert (await served.http.get(SERVERS)).json() == {"demo": shown}
    seen = await served.http.post(f"{SERVERS}/demo/tools/seen/execute", json={"args": {}})
    assert json.loads(seen.json()["func_return"])["x-key"] == "first-secret"

    changed = await served.http.patch(f"{SERVERS}/demo", json={"token": "second-secret"})
    assert (changed.status_code, changed.json()) == (200, shown)
    seen = await served.http.post(f"{SERVERS}/demo/tools/seen/execute", json={"args": {}})
    assert json.loads(seen.json()["func_return"])["x-key"] == "second-secret"

    again = await served.http.put(SERVERS, json=form(process))
    assert again.json() == [{**shown, "auth_header": None, "auth_token": None}]
    gone = await served.http.delete(f"{SERVERS}/demo")
    assert (gone.status_code, gone.json()) == (200, [])


async def test_tools_are_listed_added_and_resynced(served: Served, process: McpProcess) -> None:
    await served.http.put(SERVERS, json=form(process))
    listed = (await served.http.get(f"{SERVERS}/demo/tools")).json()
    assert sorted(tool["name"] for tool in listed) == NAMES
    add = next(tool for tool in listed if tool["name"] == "add")
    assert add["inputSchema"]["required"] == ["a", "b"]
    assert add["health"]["status"] == "NON_STRICT_ONLY"
    tool = (await served.http.post(f"{SERVERS}/demo/add")).json()
    assert (tool["name"], tool["tool_type"]) == ("add", "external_mcp")
    process.tell("more")
    new = (await served.http.post(f"{SERVERS}/demo/new.tool")).json()
    assert new["name"] == "new_tool"
    resynced = (await served.http.post(f"{SERVERS}/demo/resync")).json()
    assert (resynced["added"], resynced["deleted"]) == ([], [])
    unknown = await served.http.post(f"{SERVERS}/demo/nothing")
    assert (unknown.status_code, "has no tool called 'nothing'" in unknown.text) == (404, True)


async def test_server_is_tried_out_without_being_added(served: Served, process: McpProcess) -> None:
    tried = await served.http.post(f"{SERVERS}/test", json=form(process))
    assert tried.json()["status"] == "success"
    assert sorted(tool["name"] for tool in tried.json()["tools"]) == NAMES
    assert (await served.http.get(SERVERS)).json() == {}
    await process.kill()
    failed = await served.http.post(f"{SERVERS}/test", json=form(process))
    assert (failed.status_code, "cannot be reached" in failed.text) == (502, True)


async def test_connecting_streams_what_happens(served: Served, process: McpProcess) -> None:
    answer = await served.http.post(f"{SERVERS}/connect", json=form(process))
    assert answer.headers["content-type"].startswith("text/event-stream")
    first, second = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: ")]
    assert first == {"event": "connection_attempt", "server_name": "demo"}
    assert second["event"] == "success"
    assert sorted(tool["name"] for tool in second["tools"]) == NAMES
    await process.kill()
    broken = await served.http.post(f"{SERVERS}/connect", json=form(process))
    assert '"event":"error"' in broken.text


async def test_unknown_name_is_not_found(served: Served) -> None:
    calls = [("PATCH", "nobody"), ("DELETE", "nobody"), ("GET", "nobody/tools"), ("POST", "nobody/tool")]
    answers = [await served.http.request(method, f"{SERVERS}/{path}", json={}) for method, path in calls]
    assert [answer.status_code for answer in answers] == [404] * 4
    assert "there is no MCP server called 'nobody'" in answers[0].text
