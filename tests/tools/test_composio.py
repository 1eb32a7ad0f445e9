"""Composio through the front door, against a server of this test that speaks its REST API, version 3.1."""

from pathlib import Path
from typing import Any

import pytest
from tests.models.wire_server import Reply, WireServer, json_reply, running
from tests.serving import Served, serve

from letta.models.scripted import Call

SLUG = "GITHUB_CREATE_AN_ISSUE"
TOOL = {
    "slug": SLUG,
    "name": "Create an issue",
    "description": "Creates an issue.",
    "input_parameters": {
        "title": "CreateIssueRequest",
        "type": "object",
        "properties": {"title": {"type": "string"}, "labels": {"type": "array", "items": {"type": "string"}}},
        "required": ["title"],
    },
    "output_parameters": {"type": "object", "properties": {"id": {"type": "integer"}}},
    "version": "20260101_00",
    "available_versions": ["20250101_00", "20260101_00"],
    "tags": ["important"],
    "no_auth": False,
    "is_deprecated": False,
    "toolkit": {"slug": "github", "name": "GitHub", "logo": "https://logo.test/github.svg"},
}
TOOLKIT = {
    "slug": "github",
    "name": "GitHub",
    "deprecated": {"toolkitId": "01e22f33"},
    "no_auth": False,
    "meta": {
        "description": "Where code lives.",
        "logo": "https://logo.test/github.svg",
        "app_url": "https://github.com",
        "categories": [{"id": "dev", "name": "developer tools"}],
        "tools_count": 800,
    },
}
API = "/api/v3.1"
DONE = json_reply({"data": {"id": 7}, "successful": True, "error": None, "log_id": "log_1"})


def surroundings(composio: WireServer) -> dict[str, str]:
    return {"COMPOSIO_API_KEY": "key-of-the-server", "COMPOSIO_BASE_URL": composio.url}


async def added(served: Served, slug: str = SLUG) -> dict[str, Any]:
    answer = await served.http.post(f"/v1/tools/composio/{slug}")
    assert answer.status_code == 200, answer.text
    tool: dict[str, Any] = answer.json()
    return tool


async def called(served: Served, tool_id: str, **fields: Any) -> tuple[str, str]:
    """The status and text of the call that the model makes."""
    agent = await served.agent(tool_ids=[tool_id], include_base_tools=False, **fields)
    answer = await served.send(agent["id"], "go")
    return answer["messages"][1]["status"], answer["messages"][1]["tool_return"]


async def test_action_becomes_a_tool_with_the_schema_composio_gives(tmp_path: Path) -> None:
    async with running() as composio, serve(tmp_path, environment=surroundings(composio)) as served:
        composio.routes[f"{API}/tools/{SLUG}"] = json_reply(TOOL)
        made = await added(served, SLUG.lower())
        again = await added(served)
        read = (await served.http.get(f"/v1/tools/{made['id']}")).json()
        [asked, _] = composio.asked
    assert {name: value for name, value in made.items() if value} == {
        "id": made["id"],
        "name": "github_create_an_issue",
        "tool_type": "external_composio",
        "description": "Creates an issue.",
        "json_schema": {
            "name": "github_create_an_issue",
            "description": "Creates an issue.",
            "parameters": TOOL["input_parameters"],
        },
        "tags": ["composio"],
        "return_char_limit": made["return_char_limit"],
        "metadata_": {"composio": {"slug": SLUG, "version": "20260101_00", "toolkit": "github"}},
    }
    assert (again["id"], read) == (made["id"], made)
    assert (asked.path, asked.headers["x-api-key"]) == (
        f"{API}/tools/{SLUG}?toolkit_versions=latest",
        "key-of-the-server",
    )


async def test_call_is_executed_and_the_model_gets_its_data(tmp_path: Path) -> None:
    script = [Call("github_create_an_issue", {"title": "Broken", "labels": ["bug"]}), "Done."]
    async with running() as composio, serve(tmp_path, script, surroundings(composio)) as served:
        composio.routes[f"{API}/tools/{SLUG}"] = json_reply(TOOL)
        composio.routes[f"{API}/tools/execute/{SLUG}"] = DONE
        tool = await added(served)
        assert await called(served, tool["id"]) == ("success", '{"id":7}')
        asked = composio.asked[-1]
        assert [(one.name, one.parameters) for one in served.model.requests[0].tools] == [
            ("github_create_an_issue", TOOL["input_parameters"])
        ]
    assert (asked.method, asked.headers["x-api-key"]) == ("POST", "key-of-the-server")
    assert asked.json == {
        "arguments": {"title": "Broken", "labels": ["bug"]},
        "user_id": "default",
        "version": "20260101_00",
    }


async def test_agents_key_and_entity_win_over_the_servers(tmp_path: Path) -> None:
    script = [Call("github_create_an_issue", {"title": "x"}), "Done."]
    async with running() as composio, serve(tmp_path, script, surroundings(composio)) as served:
        composio.routes[f"{API}/tools/{SLUG}"] = json_reply(TOOL)
        composio.routes[f"{API}/tools/execute/{SLUG}"] = DONE
        tool = await added(served)
        secrets = {
            "COMPOSIO_API_KEY": "key-of-the-agent",
            "COMPOSIO_ENTITY": "ann",
            "COMPOSIO_BASE_URL": "http://x.test",
        }
        assert (await called(served, tool["id"], secrets=secrets))[0] == "success"
        asked = composio.asked[-1]
    assert (asked.headers["x-api-key"], asked.json["user_id"]) == ("key-of-the-agent", "ann")


async def test_services_are_listed_over_all_pages(tmp_path: Path) -> None:
    async with running() as composio, serve(tmp_path, environment=surroundings(composio)) as served:
        composio.will(
            json_reply({"items": [TOOLKIT], "next_cursor": "two"}),
            json_reply({"items": [{"slug": "bare"}], "next_cursor": None}),
        )
        first, second = (await served.http.get("/v1/tools/composio/apps")).json()
        paths = [asked.path for asked in composio.asked]
    assert first == {
        "name": "GitHub",
        "key": "github",
        "appId": "01e22f33",
        "description": "Where code lives.",
        "categories": ["developer tools"],
        "meta": TOOLKIT["meta"],
        "logo": "https://logo.test/github.svg",
        "docs": "https://github.com",
        "no_auth": False,
        "enabled": True,
    }
    assert (second["name"], second["appId"]) == ("bare", "bare")
    assert paths == [f"{API}/toolkits?limit=500", f"{API}/toolkits?limit=500&cursor=two"]


async def test_actions_of_a_service_are_listed(tmp_path: Path) -> None:
    async with running() as composio, serve(tmp_path, environment=surroundings(composio)) as served:
        composio.will(json_reply({"items": [TOOL]}), json_reply({"items": []}))
        [action] = (await served.http.get("/v1/tools/composio/apps/github/actions")).json()
        none = (await served.http.get("/v1/tools/composio/apps/nothing/actions")).json()
        paths = [asked.path for asked in composio.asked]
    assert action == {
        "name": SLUG,
        "display_name": "Create an issue",
        "description": "Creates an issue.",
        "parameters": TOOL["input_parameters"],
        "response": {
            "title": f"{SLUG}Response",
            "type": "object",
            "properties": {"id": {"type": "integer"}},
            "required": [],
        },
        "appName": "github",
        "appId": "github",
        "version": "20260101_00",
        "available_versions": ["20250101_00", "20260101_00"],
        "tags": ["important"],
        "logo": "https://logo.test/github.svg",
        "enabled": True,
    }
    assert none == []
    assert paths[0] == f"{API}/tools?toolkit_slug=github&toolkit_versions=latest&limit=500"


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "apps"), ("GET", "apps/github/actions"), ("POST", SLUG)],
)
async def test_without_a_key_the_variable_is_named(served: Served, method: str, path: str) -> None:
    answer = await served.http.request(method, f"/v1/tools/composio/{path}")
    assert answer.status_code == 400
    assert "COMPOSIO_API_KEY must be in the environment of the server" in answer.text


async def test_call_without_a_key_names_the_variable(tmp_path: Path) -> None:
    async with running() as composio, serve(tmp_path, environment=surroundings(composio)) as served:
        composio.routes[f"{API}/tools/{SLUG}"] = json_reply(TOOL)
        tool = await added(served)
    async with serve(tmp_path, [Call("github_create_an_issue", {"title": "x"}), "Done."]) as served:
        status, text = await called(served, tool["id"])
    assert (status, text) == (
        "error",
        "Error: COMPOSIO_API_KEY is needed, among the agent's secrets or in the environment of the server.",
    )


@pytest.mark.parametrize(
    ("reply", "status", "expected"),
    [
        (json_reply({"error": {"message": "Not found"}}, 404), 404, f"Composio has no action called {SLUG}"),
        (json_reply({"error": {"message": "No", "suggested_fix": "Pay"}}, 402), 502, "answered 402: No. Pay."),
        (json_reply({"error": {"message": "key-of-the-server is bad"}}, 401), 502, "Check COMPOSIO_API_KEY"),
        (Reply((b"<html>oops",), 500, {}), 502, "answered 500: <html>oops"),
        (Reply((b"[]",), 200, {}), 502, "in a form that is not known"),
        (Reply(silent=True), 502, "cannot be reached"),
    ],
)
async def test_what_composio_refuses_is_told(tmp_path: Path, reply: Reply, status: int, expected: str) -> None:
    async with running() as composio, serve(tmp_path, environment=surroundings(composio)) as served:
        composio.will(reply)
        answer = await served.http.post(f"/v1/tools/composio/{SLUG}")
    assert answer.status_code == status
    assert expected in answer.json()["detail"]
    assert "key-of-the-server" not in answer.text


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (
            json_reply({"data": {}, "successful": False, "error": "No connected account", "log_id": "log_2"}),
            f"Error: {SLUG} failed: No connected account (log log_2)",
        ),
        (
            json_reply({"error": {"message": "title is missing", "suggested_fix": "Give it"}}, 400),
            "Error: Composio answered 400: title is missing. Give it.",
        ),
        (Reply((b"busy",), 503, {}), "Error: Composio answered 503: busy."),
    ],
)
async def test_call_that_fails_is_data_for_the_model_and_is_not_repeated(
    tmp_path: Path, reply: Reply, expected: str
) -> None:
    script = [Call("github_create_an_issue", {"title": "x"}), "Done."]
    async with running() as composio, serve(tmp_path, script, surroundings(composio)) as served:
        composio.routes[f"{API}/tools/{SLUG}"] = json_reply(TOOL)
        composio.routes[f"{API}/tools/execute/{SLUG}"] = reply
        tool = await added(served)
        assert await called(served, tool["id"]) == ("error", expected)
        assert len(composio.asked) == 2


async def test_call_is_repeated_when_the_rate_is_limited(tmp_path: Path) -> None:
    script = [Call("github_create_an_issue", {"title": "x"}), "Done."]
    async with running() as composio, serve(tmp_path, script, surroundings(composio)) as served:
        composio.routes[f"{API}/tools/{SLUG}"] = json_reply(TOOL)
        tool = await added(served)
        composio.will(json_reply({}, 429, retry_after="0"), DONE)
        assert await called(served, tool["id"]) == ("success", '{"id":7}')


async def test_key_in_a_result_is_taken_out(tmp_path: Path) -> None:
    script = [Call("github_create_an_issue", {"title": "x"}), "Done."]
    async with running() as composio, serve(tmp_path, script, surroundings(composio)) as served:
        composio.routes[f"{API}/tools/{SLUG}"] = json_reply(TOOL)
        echo = {"data": {"sent": "key-of-the-server"}, "successful": True}
        composio.routes[f"{API}/tools/execute/{SLUG}"] = json_reply(echo)
        tool = await added(served)
        assert await called(served, tool["id"]) == ("success", '{"sent":"[secret COMPOSIO_API_KEY]"}')


async def test_long_name_is_shortened_for_model_providers_and_the_call_finds_its_way(tmp_path: Path) -> None:
    slug = "GITHUB_" + "VERY_" * 14 + "LONG"
    async with running() as composio, serve(tmp_path, environment=surroundings(composio)) as served:
        composio.routes[f"{API}/tools/{slug}"] = json_reply({**TOOL, "slug": slug})
        tool = await added(served, slug)
    assert len(tool["name"]) == 64
    assert tool["metadata_"]["composio"]["slug"] == slug


async def test_tool_of_the_users_own_is_not_overwritten(tmp_path: Path) -> None:
    source = 'def github_create_an_issue():\n    """Mine."""\n'
    async with running() as composio, serve(tmp_path, environment=surroundings(composio)) as served:
        composio.routes[f"{API}/tools/{SLUG}"] = json_reply(TOOL)
        await served.http.post("/v1/tools/", json={"source_code": source})
        answer = await served.http.post(f"/v1/tools/composio/{SLUG}")
    assert answer.status_code == 409


@pytest.mark.parametrize("name", ["a%2Fb", "a%20b", "..%2F..", "%00", "x" * 201])
async def test_name_that_could_change_the_address_is_refused(tmp_path: Path, name: str) -> None:
    async with running() as composio, serve(tmp_path, environment=surroundings(composio)) as served:
        answer = await served.http.post(f"/v1/tools/composio/{name}")
        assert answer.status_code in (404, 422)
        assert composio.asked == []


async def test_tool_is_called_outside_of_a_conversation_and_can_be_deleted(tmp_path: Path) -> None:
    async with running() as composio, serve(tmp_path, environment=surroundings(composio)) as served:
        composio.routes[f"{API}/tools/{SLUG}"] = json_reply(TOOL)
        composio.routes[f"{API}/tools/execute/{SLUG}"] = DONE
        tool = await added(served)
        agent = await served.agent(tool_ids=[tool["id"]], include_base_tools=False)
        path = f"/v1/agents/{agent['id']}/tools/github_create_an_issue/run"
        done = (await served.http.post(path, json={"args": {"title": "Broken"}})).json()
        gone = await served.http.delete(f"/v1/tools/{tool['id']}")
        left = (await served.http.get(f"/v1/agents/{agent['id']}")).json()["tools"]
        known = await served.http.get(f"/v1/tools/{tool['id']}")
    assert (done["status"], done["func_return"]) == ("success", '{"id":7}')
    assert (gone.status_code, left, known.status_code) == (200, [], 404)
