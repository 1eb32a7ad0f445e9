"""`/v1/mcp-servers`, against real MCP servers over every transport."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.serving import Served, serve
from tests.tools.mcp_processes import TRANSPORTS, McpProcess, mcp_process

from letta.models.scripted import Call, Step
from letta.store import mcp_servers

UNKNOWN = "mcp_server-00000000-0000-4000-8000-000000000000"
NAMES = ["add", "die", "fail", "hang", "long", "picture", "seen", "slow"]
STARS = "********"


@pytest.fixture(params=TRANSPORTS)
async def each(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[McpProcess]:
    """A server, over each transport in turn."""
    async with mcp_process(request.param, tmp_path / "mcp") as running:
        yield running


@pytest.fixture
async def process(tmp_path: Path) -> AsyncIterator[McpProcess]:
    """A server over streamable HTTP."""
    async with mcp_process("streamable_http", tmp_path / "mcp") as running:
        yield running


async def added(served: Served, config: dict[str, Any], name: str = "demo") -> dict[str, Any]:
    answer = await served.http.post("/v1/mcp-servers/", json={"server_name": name, "config": config})
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def tools_of(served: Served, server: dict[str, Any]) -> dict[str, dict[str, Any]]:
    answer = await served.http.get(f"/v1/mcp-servers/{server['id']}/tools")
    assert answer.status_code == 200, answer.text
    return {tool["name"]: tool for tool in answer.json()}


async def run(served: Served, server: dict[str, Any], tool: str, /, **args: Any) -> dict[str, Any]:
    found = (await tools_of(served, server))[tool]
    query = {"agent_id": args.pop("agent_id")} if "agent_id" in args else {}
    path = f"/v1/mcp-servers/{server['id']}/tools/{found['id']}/run"
    answer = await served.http.post(path, json={"args": args}, params=query)
    assert answer.status_code == 200, answer.text
    result: dict[str, Any] = answer.json()
    return result


async def refreshed(served: Served, server: dict[str, Any], **query: Any) -> dict[str, Any]:
    answer = await served.http.patch(f"/v1/mcp-servers/{server['id']}/refresh", params=query)
    assert answer.status_code == 200, answer.text
    changes: dict[str, Any] = answer.json()
    return changes


async def test_server_is_added_with_its_tools_which_run(served: Served, each: McpProcess) -> None:
    server = await added(served, each.config())
    assert (server["server_name"], server["mcp_server_type"]) == ("demo", each.transport)
    assert server["health"] == {
        "state": "connected", "error": None, "retry_in": None, "checked_at": server["health"]["checked_at"], "tools": 8,
    }  # fmt: skip
    tools = await tools_of(served, server)
    assert sorted(tools) == NAMES
    add = tools["add"]
    assert (add["tool_type"], add["tags"], add["enable_parallel_execution"]) == ("external_mcp", ["mcp:demo"], True)
    assert add["json_schema"]["name"] == "add"
    assert add["json_schema"]["parameters"]["required"] == ["a", "b"]
    assert add["metadata_"]["mcp"] == {
        "server_id": server["id"], "server_name": "demo", "tool_name": "add",
        "health": {"status": "NON_STRICT_ONLY", "reasons": ["an object allows additional properties"]},
        "definition": add["metadata_"]["mcp"]["definition"],
    }  # fmt: skip
    one = await served.http.get(f"/v1/mcp-servers/{server['id']}/tools/{add['id']}")
    assert one.json() == add
    result = await run(served, server, "add", a=40, b=2)
    assert (result["status"], result["func_return"]) == ("success", "42")
    failed = await run(served, server, "fail")
    assert (failed["status"], failed["func_return"]) == (
        "error",
        "Error executing tool fail: the moon is not available",
    )


async def test_agent_calls_a_tool_and_is_told_its_error_and_picture(tmp_path: Path, each: McpProcess) -> None:
    script: list[Step] = [
        [Call("add", {"a": 1, "b": 2}), Call("fail")],
        Call("picture"),
        "Done.",
    ]
    async with serve(tmp_path / "letta", script) as served:
        tools = await tools_of(served, await added(served, each.config()))
        agent = await served.agent(tool_ids=[tools[name]["id"] for name in ("add", "fail", "picture")])
        said = await served.send(agent["id"], "go")
        returns = [
            part for m in said["messages"] if m["message_type"] == "tool_return_message" for part in m["tool_returns"]
        ]
        assert [(one["status"], one["tool_return"]) for one in returns[:2]] == [
            ("success", "3"),
            ("error", "Error executing tool fail: the moon is not available"),
        ]
        text, image = returns[2]["tool_return"]
        assert text["text"] == "one pixel\n[image: image/png, 70 bytes]"
        assert image["source"]["media_type"] == "image/png"
        assert said["messages"][-1]["content"] == "Done."


async def test_dead_server_gives_the_model_an_error_and_the_run_ends(tmp_path: Path, process: McpProcess) -> None:
    script: list[Step] = [Call("add", {"a": 1, "b": 2}), Call("add", {"a": 1, "b": 2}), "It is gone."]
    async with serve(tmp_path / "letta", script) as served:
        server = await added(served, process.config())
        agent = await served.agent(tool_ids=[(await tools_of(served, server))["add"]["id"]])
        await process.kill()
        said = await served.send(agent["id"], "go")
        returns = [m["tool_return"] for m in said["messages"] if m["message_type"] == "tool_return_message"]
        assert returns[0].startswith("Error: MCP server demo cannot be reached")
        assert returns[1].endswith("(it is asked again in 1 s)")
        assert said["messages"][-1]["content"] == "It is gone."
        health = (await served.http.get(f"/v1/mcp-servers/{server['id']}")).json()["health"]
        assert (health["state"], health["tools"]) == ("failing", 8)
        refused = await served.http.patch(f"/v1/mcp-servers/{server['id']}/refresh")
        assert refused.status_code == 502
        assert refused.headers["x-should-retry"] == "false"
        await process.start()
        assert await refreshed(served, server) == {"added": [], "updated": [], "deleted": [], "quarantined": {}}


async def test_refresh_tells_what_came_changed_and_went(served: Served, process: McpProcess) -> None:
    server = await added(served, process.config())
    before = await tools_of(served, server)
    await served.http.patch(f"/v1/tools/{before['seen']['id']}", json={"description": "Mine"})
    agent = await served.agent(tool_ids=[before["picture"]["id"], before["add"]["id"]], include_base_tools=False)
    process.tell("more")
    process.tell("broken")
    assert await refreshed(served, server) == {
        "added": ["new_tool", "broken"], "updated": ["add"], "deleted": ["picture"],
        "quarantined": {"broken": ["properties/what/type: 'strnig' is not valid under any of the given schemas"]},
    }  # fmt: skip
    after = await tools_of(served, server)
    assert after["add"]["description"] == "Add two whole numbers."
    assert after["add"]["id"] == before["add"]["id"]
    assert after["seen"]["description"] == "Mine"
    assert after["new_tool"]["metadata_"]["mcp"]["tool_name"] == "new.tool"
    assert [tool["name"] for tool in (await served.http.get(f"/v1/agents/{agent['id']}/tools")).json()] == ["add"]
    assert await refreshed(served, server) == {
        "added": [], "updated": [], "deleted": [],
        "quarantined": {"broken": ["properties/what/type: 'strnig' is not valid under any of the given schemas"]},
    }  # fmt: skip


async def test_tool_with_a_broken_schema_is_kept_from_the_model(tmp_path: Path, process: McpProcess) -> None:
    process.tell("broken")
    async with serve(tmp_path / "letta", ["Hello."]) as served:
        tools = await tools_of(served, await added(served, process.config()))
        assert tools["broken"]["metadata_"]["mcp"]["health"]["status"] == "INVALID"
        assert tools["broken"]["json_schema"]["parameters"] == {"type": "object", "properties": {}}
        ids = [tools["broken"]["id"], tools["add"]["id"]]
        agent = await served.agent(tool_ids=ids, include_base_tools=False)
        await served.send(agent["id"], "hi")
        assert [tool.name for tool in served.model.requests[-1].tools] == ["add"]


async def test_secrets_of_the_server_are_sent_and_never_shown(served: Served, each: McpProcess) -> None:
    if each.transport == "stdio":
        config = each.config(env={"DEMO_KEY": "secret-of-mine"})
        hidden: dict[str, Any] = {"env": {"MCP_FOLDER": STARS, "DEMO_KEY": STARS}}
        sent: dict[str, Any] = {"variable": "secret-of-mine", "home": None, "authorization": None, "x-key": None}
        same: dict[str, Any] = {"env": {"MCP_FOLDER": STARS, "DEMO_KEY": STARS}}
    else:
        config = each.config(auth_token="secret-of-mine", custom_headers={"X-Key": "other-secret"})
        hidden = {"auth_token": STARS, "custom_headers": {"X-Key": STARS}, "auth_header": None}
        sent = {"variable": None, "home": None, "authorization": "Bearer secret-of-mine", "x-key": "other-secret"}
        same = {"auth_token": STARS, "custom_headers": {"X-Key": STARS}}
    server = await added(served, config)
    assert {name: server[name] for name in hidden} == hidden
    listed = (await served.http.get("/v1/mcp-servers/")).text
    assert "secret" not in listed
    assert _json((await run(served, server, "seen"))["func_return"]) == sent
    change = {"config": {"mcp_server_type": each.transport, **same}}
    changed = await served.http.patch(f"/v1/mcp-servers/{server['id']}", json=change)
    assert changed.status_code == 200, changed.text
    assert _json((await run(served, server, "seen"))["func_return"]) == sent
    [stored] = await served.parts.database.read(mcp_servers.list_all)
    assert "secret-of-mine" not in repr(stored)
    assert "other-secret" not in repr(stored)


async def test_configuration_may_name_secrets_of_the_calling_agent(tmp_path: Path, each: McpProcess) -> None:
    if each.transport == "stdio":
        config = each.config(env={"DEMO_KEY": "{{ DEMO_KEY }}"})
    else:
        config = each.config(custom_headers={"X-Key": "{{ DEMO_KEY }}"})
    async with serve(tmp_path / "letta", [Call("seen"), "one", Call("seen"), "two"]) as served:
        server = await added(served, config)
        assert server["health"]["state"] == "failing"
        assert "names secrets the agent does not have: DEMO_KEY" in server["health"]["error"]
        shown = server["env"]["DEMO_KEY"] if each.transport == "stdio" else server["custom_headers"]["X-Key"]
        assert shown == "{{ DEMO_KEY }}"
        agents = [await served.agent(secrets={"DEMO_KEY": f"key-of-{name}"}) for name in ("ada", "bob")]
        await refreshed(served, server, agent_id=agents[0]["id"])
        tool_id = (await tools_of(served, server))["seen"]["id"]
        seen = []
        for agent in agents:
            await served.http.patch(f"/v1/agents/{agent['id']}/tools/attach/{tool_id}")
            said = await served.send(agent["id"], "go")
            returned = next(m["tool_return"] for m in said["messages"] if m["message_type"] == "tool_return_message")
            seen.append(_json(returned)["variable" if each.transport == "stdio" else "x-key"])
        assert seen == ["key-of-ada", "key-of-bob"]


async def test_commands_end_with_the_server_that_started_them(tmp_path: Path) -> None:
    async with mcp_process("stdio", tmp_path / "mcp") as process:
        async with serve(tmp_path / "letta") as served:
            await added(served, process.config())
            assert process.alive
        assert not process.alive


async def test_server_that_does_not_answer_is_added_and_says_why(served: Served) -> None:
    config = {"mcp_server_type": "streamable_http", "server_url": "http://127.0.0.1:1/mcp"}
    server = await added(served, config)
    assert server["health"]["state"] == "failing"
    assert server["health"]["error"] == ("MCP server demo cannot be reached (All connection attempts failed)")
    assert await tools_of(served, server) == {}


ODD: dict[str, dict[str, Any]] = {
    "impossible variable": {"command": "cat", "args": [], "env": {"A=B": "c", "": ""}},
    "folder as command": {"command": "/", "args": []},
    "spaces as command": {"command": "   ", "args": ["\u0000"]},
    "unknown name": {"server_url": "http://nobody.invalid/mcp"},
    "long name": {"server_url": f"http://{'a' * 300}.invalid/mcp"},
    "reference as host": {"server_url": "http://{{HOST}}/mcp"},
    "no MCP server": {"mcp_server_type": "sse", "server_url": "http://127.0.0.1:1/"},
}


@pytest.mark.parametrize("kind", ODD)
async def test_odd_configuration_is_added_as_failing(served: Served, kind: str) -> None:
    server = await added(served, ODD[kind])
    assert server["health"]["state"] == "failing"
    assert server["health"]["error"]
    refused = await served.http.patch(f"/v1/mcp-servers/{server['id']}/refresh")
    assert refused.status_code in (400, 408, 502)


async def test_name_is_taken_once_and_carried_to_the_tools(served: Served, process: McpProcess) -> None:
    server = await added(served, process.config())
    again = await served.http.post("/v1/mcp-servers", json={"server_name": "demo", "config": process.config()})
    assert again.status_code == 409
    renamed = await served.http.patch(f"/v1/mcp-servers/{server['id']}", json={"server_name": "other"})
    assert renamed.json()["server_name"] == "other"
    add = (await tools_of(served, server))["add"]
    assert (add["tags"], add["metadata_"]["mcp"]["server_name"]) == (["mcp:other"], "other")


async def test_tools_of_the_same_name_get_the_name_of_their_server(served: Served, process: McpProcess) -> None:
    await added(served, process.config())
    second = await added(served, process.config(), name="my second")
    tools = await tools_of(served, second)
    assert sorted(tools) == [f"my_second_{name}" for name in NAMES]
    assert (await run(served, second, "my_second_add", a=1, b=1))["func_return"] == "2"


async def test_deleted_server_takes_its_tools_along(served: Served, process: McpProcess) -> None:
    server = await added(served, process.config())
    tools = await tools_of(served, server)
    agent = await served.agent(tool_ids=[tools["add"]["id"]], include_base_tools=False)
    gone = await served.http.delete(f"/v1/mcp-servers/{server['id']}")
    assert (gone.status_code, gone.content) == (204, b"")
    assert (await served.http.get(f"/v1/mcp-servers/{server['id']}")).status_code == 404
    assert (await served.http.get(f"/v1/tools/{tools['add']['id']}")).status_code == 404
    assert (await served.http.get(f"/v1/agents/{agent['id']}/tools")).json() == []


async def test_what_is_not_there_is_not_found(served: Served, process: McpProcess) -> None:
    server = await added(served, process.config())
    tool = (await tools_of(served, server))["add"]["id"]
    missing = [
        ("GET", f"/v1/mcp-servers/{UNKNOWN}"),
        ("PATCH", f"/v1/mcp-servers/{UNKNOWN}/refresh"),
        ("GET", f"/v1/mcp-servers/{UNKNOWN}/tools"),
        ("GET", f"/v1/mcp-servers/{UNKNOWN}/tools/{tool}"),
        ("GET", f"/v1/mcp-servers/{server['id']}/tools/tool-00000000-0000-4000-8000-000000000000"),
        ("GET", f"/v1/mcp-servers/{server['id']}/sign-in/mcp-oauth-1"),
        ("PATCH", f"/v1/mcp-servers/{server['id']}/refresh?agent_id=agent-00000000-0000-4000-8000-000000000000"),
        ("DELETE", f"/v1/mcp-servers/{UNKNOWN}"),
    ]
    statuses = {path: (await served.http.request(method, path)).status_code for method, path in missing}
    assert set(statuses.values()) == {404}, statuses


REFUSED: dict[str, tuple[dict[str, Any], int, str]] = {
    "no scheme": ({"server_url": "ftp://host/mcp"}, 422, "server_url"),
    "password in the address": ({"server_url": "http://a:b@localhost/mcp"}, 400, "use auth_token or custom_headers"),
    "metadata service": ({"server_url": "http://169.254.169.254/mcp"}, 400, "the metadata service of a cloud"),
    "impossible port": ({"server_url": "http://localhost:99999/mcp"}, 400, "server_url"),
    "impossible header": ({"server_url": "http://localhost/", "custom_headers": {"A b": "c"}}, 400, "custom_headers"),
    "two lines in a header": ({"server_url": "http://localhost/", "auth_token": "a\nb"}, 400, "Authorization"),
    "not a name": ({"server_url": "http://[::1/mcp"}, 400, "server_url"),
    "no arguments": ({"command": "npx"}, 422, "args"),
    "unknown type": ({"mcp_server_type": "pigeon", "server_url": "http://localhost/mcp"}, 422, "pigeon"),
}


@pytest.mark.parametrize("kind", REFUSED)
async def test_unusable_configuration_is_refused_by_name(served: Served, kind: str) -> None:
    config, status, told = REFUSED[kind]
    answer = await served.http.post("/v1/mcp-servers", json={"server_name": "demo", "config": config})
    assert (answer.status_code, told in answer.text) == (status, True), answer.text
    assert (await served.http.get("/v1/mcp-servers")).json() == []


async def test_server_for_others_refuses_commands_and_private_addresses(tmp_path: Path) -> None:
    async with serve(tmp_path, host="0.0.0.0", insecure=True) as served:
        for config, told in (
            ({"command": "npx", "args": []}, "LETTA_MCP_STDIO=true allows them"),
            ({"server_url": "http://127.0.0.1:9/mcp"}, "LETTA_ALLOW_PRIVATE_URLS=true allows it"),
            ({"server_url": "http://[::ffff:10.0.0.1]/mcp"}, "is not a public address"),
        ):
            answer = await served.http.post("/v1/mcp-servers", json={"server_name": "demo", "config": config})
            assert (answer.status_code, told in answer.text) == (400, True), answer.text
    async with serve(tmp_path, host="0.0.0.0", insecure=True, allow_private_urls=True) as served:
        assert (await added(served, {"server_url": "http://127.0.0.1:1/mcp"}))["health"]["state"] == "failing"


def _json(text: str) -> Any:
    return json.loads(text)


async def test_agents_tool_of_a_server_runs_outside_of_a_conversation_and_can_be_deleted(
    served: Served, process: McpProcess
) -> None:
    server = await added(served, process.config())
    found = await tools_of(served, server)
    agent = await served.agent(tool_ids=[found["add"]["id"], found["fail"]["id"]], include_base_tools=False)
    path = f"/v1/agents/{agent['id']}/tools"
    done = (await served.http.post(f"{path}/add/run", json={"args": {"a": 2, "b": 3}})).json()
    failed = (await served.http.post(f"{path}/fail/run", json={"args": {}})).json()
    await served.http.delete(f"/v1/tools/{found['add']['id']}")
    left = [tool["name"] for tool in (await served.http.get(path)).json()]
    assert (done["status"], done["func_return"], failed["status"]) == ("success", "5", "error")
    assert left == ["fail"]
    assert (await refreshed(served, server))["added"] == ["add"]
