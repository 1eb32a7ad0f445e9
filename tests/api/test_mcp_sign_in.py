"""Signing in at MCP servers that ask for it: a real authorization server, and a browser that is played by the test."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from tests.serving import Served, serve
from tests.tools.mcp_processes import McpProcess, mcp_process, until

from letta.store import mcp_servers

CALLBACK = "/v1/tools/mcp/oauth/callback"


@pytest.fixture
async def process(tmp_path: Path) -> AsyncIterator[McpProcess]:
    """A server that wants people to sign in."""
    async with mcp_process("streamable_http", tmp_path / "mcp", MCP_OAUTH="1") as running:
        yield running


async def added(served: Served, process: McpProcess) -> dict[str, Any]:
    body = {"server_name": "demo", "config": process.config()}
    answer = await served.http.post("/v1/mcp-servers", json=body)
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def browse(url: str) -> str:
    """Where the authorization server sends a browser back to."""
    async with httpx2.AsyncClient() as browser:
        answer = await browser.get(url)
    assert answer.status_code == 302, answer.text
    return answer.headers["location"]


async def signed_in(served: Served, server: dict[str, Any]) -> None:
    begun = (await served.http.post(f"/v1/mcp-servers/{server['id']}/sign-in")).json()
    assert begun["status"] == "waiting", begun
    came_back = await served.http.get(await browse(begun["authorization_url"]))
    assert (came_back.status_code, "Signed in" in came_back.text) == (200, True)
    path = f"/v1/mcp-servers/{server['id']}/sign-in/{begun['session_id']}"
    state = begun
    deadline = time.monotonic() + 30
    while state["status"] == "waiting":
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)
        state = (await served.http.get(path)).json()
    assert state == {
        "status": "signed_in", "authorization_url": None, "session_id": begun["session_id"], "error": None,
    }  # fmt: skip


async def run(served: Served, server: dict[str, Any], name: str, **args: Any) -> Any:
    tools = (await served.http.get(f"/v1/mcp-servers/{server['id']}/tools")).json()
    tool = next(tool for tool in tools if tool["name"] == name)
    return await served.http.post(f"/v1/mcp-servers/{server['id']}/tools/{tool['id']}/run", json={"args": args})


async def test_person_signs_in_over_plain_routes_and_tools_work(served: Served, process: McpProcess) -> None:
    server = await added(served, process)
    assert server["health"]["state"] == "sign_in_needed"
    refused = await served.http.patch(f"/v1/mcp-servers/{server['id']}/refresh")
    assert (refused.status_code, "sign in" in refused.text) == (400, True)
    begun = (await served.http.post(f"/v1/mcp-servers/{server['id']}/sign-in")).json()
    asked = {name: value for name, [value] in parse_qs(urlsplit(begun["authorization_url"]).query).items()}
    assert asked["code_challenge_method"] == "S256"
    assert asked["redirect_uri"] == f"http://letta.test{CALLBACK}"
    await signed_in(served, server)
    answer = await served.http.get(f"/v1/mcp-servers/{server['id']}")
    assert (answer.json()["health"]["state"], answer.json()["health"]["tools"]) == ("connected", 8)
    assert (await run(served, server, "add", a=1, b=2)).json()["func_return"] == "3"
    locked = await served.parts.database.read(mcp_servers.tokens, process.url)
    values = served.parts.vault.open(locked)
    assert values["access_token"] not in (locked or b"").decode()
    assert values["refresh_token"]


async def test_connect_stream_leads_through_the_sign_in(served: Served, process: McpProcess) -> None:
    server = await added(served, process)
    connecting = asyncio.create_task(served.http.get(f"/v1/mcp-servers/connect/{server['id']}"))
    # The test's client hands out a stream when it has ended: the address is taken from the server's parts meanwhile.
    waiting = served.parts.mcp._sign_ins._all
    await until(lambda: any(one.authorization_url for one in waiting.values()))
    [sign_in] = waiting.values()
    await served.http.get(await browse(str(sign_in.authorization_url)))
    answer = await connecting
    events = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: ")]
    assert [event["event"] for event in events] == [
        "connection_attempt", "oauth_required", "authorization_url", "waiting_for_auth", "success",
    ]  # fmt: skip
    assert events[2] == {
        "event": "authorization_url", "url": sign_in.authorization_url, "session_id": sign_in.id,
    }  # fmt: skip
    assert len(events[-1]["tools"]) == 8


async def test_tokens_outlive_the_server_and_are_renewed(tmp_path: Path, process: McpProcess) -> None:
    async with serve(tmp_path / "letta") as served:
        server = await added(served, process)
        await signed_in(served, server)
        vault, database = served.parts.vault, served.parts.database
        values = vault.open(await database.read(mcp_servers.tokens, process.url))
        values["expires_at"] = str(time.time() + 1)
        await database.write(mcp_servers.keep_tokens, process.url, vault.lock(values))
    async with serve(tmp_path / "letta") as served:
        assert (await run(served, server, "add", a=1, b=2)).json()["func_return"] == "3"
        assert process.calls == ["refreshed", "add"]
        newer = served.parts.vault.open(await served.parts.database.read(mcp_servers.tokens, process.url))
        assert newer["access_token"] != values["access_token"]


async def test_refused_token_is_renewed_once_and_then_asks_for_a_sign_in(served: Served, process: McpProcess) -> None:
    server = await added(served, process)
    await signed_in(served, server)
    process.tell("revoke")
    assert (await run(served, server, "add", a=1, b=2)).json()["func_return"] == "3"
    assert process.calls == ["refreshed", "add"]
    gone = await served.http.delete(f"/v1/mcp-servers/{server['id']}/sign-in")
    assert gone.status_code == 204
    refused = await run(served, server, "add", a=1, b=2)
    assert (refused.status_code, "sign in" in refused.text) == (400, True)


async def test_refused_and_unknown_answers_are_told(served: Served, process: McpProcess) -> None:
    server = await added(served, process)
    begun = (await served.http.post(f"/v1/mcp-servers/{server['id']}/sign-in")).json()
    [state] = parse_qs(urlsplit(begun["authorization_url"]).query)["state"]
    told = await served.http.get(
        CALLBACK, params={"state": state, "error": "access_denied", "error_description": "<b>"}
    )
    assert (told.status_code, "access_denied (&lt;b&gt;)" in told.text) == (200, True)
    path = f"/v1/mcp-servers/{server['id']}/sign-in/{begun['session_id']}"
    sign_in = served.parts.mcp.find_sign_in(begun["session_id"])
    await sign_in.done.wait()
    assert (await served.http.get(path)).json()["error"] == "the sign-in was refused: access_denied (<b>)"
    assert (await served.http.get(CALLBACK, params={"state": state, "code": "x"})).status_code == 404
    assert (await served.http.get(CALLBACK, params={"state": state})).status_code == 400


async def test_nobody_signs_in_where_it_is_not_asked_for(served: Served, tmp_path: Path) -> None:
    async with mcp_process("streamable_http", tmp_path / "open") as process:
        server = await added(served, process)
        answer = (await served.http.post(f"/v1/mcp-servers/{server['id']}/sign-in")).json()
        assert answer["status"] == "not_needed"
    command = {"server_name": "cat", "config": {"command": "cat", "args": []}}
    other = (await served.http.post("/v1/mcp-servers", json=command)).json()
    refused = await served.http.post(f"/v1/mcp-servers/{other['id']}/sign-in")
    assert refused.status_code == 400


async def test_callback_needs_no_password_and_everything_else_does(tmp_path: Path) -> None:
    async with serve(tmp_path, server_password="word") as served:
        assert (await served.http.get(CALLBACK, params={"state": "x", "code": "y"})).status_code == 404
        assert (await served.http.get("/v1/mcp-servers")).status_code == 401
