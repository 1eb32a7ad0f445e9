"""Requests that cannot be right get a 4xx that says what is wrong, and leave nothing half done."""

import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from tests.serving import Served, serve

UNKNOWN = "00000000-0000-4000-8000-000000000000"
JSON = {"content-type": "application/json"}
DEEP = "[" * 100_000 + "]" * 100_000


async def agent_of(served: Served) -> str:
    made = await served.agent(memory_blocks=[{"label": "human", "value": "Bo", "limit": 20}])
    return str(made["id"])


async def everything(served: Served) -> dict[str, Any]:
    """What a failed request must not change: counts of what there is, and each agent."""
    found = {
        name: (await served.http.get(f"/v1/{name}/")).json()
        for name in ("agents", "blocks", "identities", "runs", "steps", "messages", "tags", "providers")
    }
    return {name: found[name] for name in sorted(found)}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"agents/agent-{UNKNOWN}"),
        ("PATCH", f"agents/agent-{UNKNOWN}"),
        ("DELETE", f"agents/agent-{UNKNOWN}"),
        ("GET", f"agents/agent-{UNKNOWN}/messages"),
        ("POST", f"agents/agent-{UNKNOWN}/messages"),
        ("POST", f"agents/agent-{UNKNOWN}/messages/stream"),
        ("POST", f"agents/agent-{UNKNOWN}/messages/async"),
        ("GET", f"agents/agent-{UNKNOWN}/core-memory/blocks"),
        ("GET", f"agents/agent-{UNKNOWN}/tools"),
        ("GET", f"agents/agent-{UNKNOWN}/context"),
        ("GET", f"blocks/block-{UNKNOWN}"),
        ("PATCH", f"blocks/block-{UNKNOWN}"),
        ("GET", f"messages/message-{UNKNOWN}"),
        ("GET", f"tools/tool-{UNKNOWN}"),
        ("GET", f"runs/run-{UNKNOWN}"),
        ("GET", f"runs/run-{UNKNOWN}/messages"),
        ("GET", f"steps/step-{UNKNOWN}"),
        ("GET", f"identities/identity-{UNKNOWN}"),
        ("GET", f"providers/provider-{UNKNOWN}"),
    ],
)
async def test_unknown_id_is_not_found_and_named(served: Served, method: str, path: str) -> None:
    body = {"input": "hello"} if "messages" in path else {}
    answer = await served.http.request(method, f"/v1/{path}", json=None if method == "GET" else body)
    assert answer.status_code == 404, answer.text
    assert UNKNOWN in answer.json()["detail"]


@pytest.mark.parametrize("noun", ["agents", "blocks", "tools", "steps", "identities", "providers", "messages", "runs"])
@pytest.mark.parametrize("wrong", ["1", f"other-{UNKNOWN}", f"agent-{UNKNOWN.upper()}x", "%00", "..%2f..", "🦊"])
async def test_id_of_a_wrong_form_says_which_form_is_right(served: Served, noun: str, wrong: str) -> None:
    answer = await served.http.get(f"/v1/{noun}/{wrong}")
    assert answer.status_code in (404, 422), answer.text
    assert answer.headers["content-type"] == "application/json"
    if answer.status_code == 422:
        assert "_id: " in answer.json()["detail"] or "NUL" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("model", "status", "said"),
    [
        ({}, 400, "letta/scripted"),
        ({"model": "/nothing"}, 400, "provider/model"),
        ({"model": "nobody/model"}, 404, "letta/scripted"),
        ({"model": 7}, 422, "model: "),
    ],
)
async def test_agent_without_a_usable_model_is_refused_with_the_way_out(
    tmp_path: Path, model: dict[str, Any], status: int, said: str
) -> None:
    async with serve(tmp_path, scripted_models=False) as served:
        mine = {"name": "mine", "provider_type": "openai", "api_key": "key", "base_url": "http://127.0.0.1:9/v1"}
        assert (await served.http.post("/v1/providers/", json=mine)).status_code == 200
        answer = await served.http.post("/v1/agents/", json={"name": "lost", **model})
        assert (answer.status_code, said in answer.json()["detail"]) == (status, True), answer.text
        assert (await served.http.get("/v1/agents/")).json() == []


async def test_both_or_neither_form_of_a_message_is_refused(served: Served) -> None:
    agent_id = await agent_of(served)
    before = await everything(served)
    wrong: list[dict[str, Any]] = [{}, {"messages": []}, {"input": "a", "messages": [{"role": "user", "content": "b"}]}]
    for body in wrong:
        answer = await served.http.post(f"/v1/agents/{agent_id}/messages", json=body)
        assert answer.status_code == 422
        assert "messages" in answer.json()["detail"]
    assert await everything(served) == before


@pytest.mark.parametrize("extra", [{"stream_tokens": True}, {"background": True}, {"include_pings": False}])
async def test_options_of_streams_need_a_stream(served: Served, extra: dict[str, Any]) -> None:
    agent_id = await agent_of(served)
    answer = await served.http.post(f"/v1/agents/{agent_id}/messages", json={"input": "hello", **extra})
    assert answer.status_code == 422
    assert (
        answer.json()["detail"] == f"{next(iter(extra))}={json.dumps(next(iter(extra.values())))} needs streaming=true"
    )


async def test_value_over_its_limit_is_refused_with_the_limit_and_nothing_is_made(served: Served) -> None:
    agent_id = await agent_of(served)
    block_id = (await served.http.get(f"/v1/agents/{agent_id}")).json()["blocks"][0]["id"]
    before = await everything(served)
    long = "x" * 21
    attempts: list[tuple[str, str, dict[str, Any]]] = [
        ("PATCH", f"/v1/blocks/{block_id}", {"value": long, "description": "lost"}),
        ("PATCH", f"/v1/agents/{agent_id}/core-memory/blocks/human", {"value": long, "label": "lost"}),
        ("PATCH", f"/v1/blocks/{block_id}", {"limit": 1}),
        ("POST", "/v1/blocks/", {"label": "new", "value": long, "limit": 20}),
        (
            "POST",
            "/v1/agents/",
            {
                "model": "letta/scripted",
                "tags": ["lost"],
                "memory_blocks": [{"label": "fine", "value": ""}, {"label": "long", "value": long, "limit": 20}],
            },
        ),
    ]
    for method, path, body in attempts:
        answer = await served.http.request(method, path, json=body)
        assert answer.status_code == 422, answer.text
        assert str(body.get("limit") or 20) in answer.json()["detail"]
    assert await everything(served) == before


@pytest.mark.parametrize(
    "body",
    [
        {"model": "letta/scripted", "tools": ["memory_insert", "no_such_tool"], "tags": ["lost"]},
        {"model": "letta/scripted", "tool_ids": [f"tool-{UNKNOWN}"], "tags": ["lost"]},
        {"model": "letta/scripted", "block_ids": [f"block-{UNKNOWN}"], "memory_blocks": [{"label": "a", "value": ""}]},
        {"model": "letta/scripted", "identity_ids": [f"identity-{UNKNOWN}"], "tags": ["lost"]},
        {"model": "letta/scripted", "memory_blocks": [{"label": "a", "value": ""}, {"label": "a", "value": ""}]},
    ],
)
async def test_agent_that_cannot_be_made_whole_is_not_made_at_all(served: Served, body: dict[str, Any]) -> None:
    before = await everything(served)
    answer = await served.http.post("/v1/agents/", json=body)
    assert answer.status_code in (404, 422), answer.text
    assert await everything(served) == before


async def test_change_that_fails_changes_nothing(served: Served) -> None:
    agent_id = await agent_of(served)
    before = await everything(served)
    for body in (
        {"name": "lost", "tags": ["lost"], "tool_ids": [f"tool-{UNKNOWN}"]},
        {"name": "lost", "block_ids": [f"block-{UNKNOWN}"]},
        {"name": "lost", "identity_ids": [f"identity-{UNKNOWN}"]},
        {"name": "lost", "timezone": "Mars/Base"},
        {"name": "lost", "model": "/nothing"},
    ):
        answer = await served.http.patch(f"/v1/agents/{agent_id}", json=body)
        assert answer.status_code in (400, 404, 422), answer.text
    assert await everything(served) == before


async def test_attaching_twice_is_the_same_as_once(served: Served) -> None:
    agent_id = await agent_of(served)
    block = (await served.http.post("/v1/blocks/", json={"label": "extra", "value": ""})).json()["id"]
    tool = (await served.http.get("/v1/tools/?name=memory_rethink")).json()[0]["id"]
    who = {"identifier_key": str(uuid4()), "name": "Ada", "identity_type": "user"}
    identity = (await served.http.post("/v1/identities/", json=who)).json()["id"]
    paths = (f"core-memory/blocks/attach/{block}", f"tools/attach/{tool}", f"identities/attach/{identity}")
    for path in paths:
        for _ in range(2):
            answer = await served.http.patch(f"/v1/agents/{agent_id}/{path}")
            assert answer.status_code == 200, answer.text
    state = (await served.http.get(f"/v1/agents/{agent_id}")).json()
    assert [one["id"] for one in state["blocks"]].count(block) == 1
    assert [one["id"] for one in state["tools"]].count(tool) == 1
    assert [one["id"] for one in state["identities"]] == [identity]


WRITES = ("POST agents", "PATCH agents/{agent}", "POST agents/{agent}/messages", "POST blocks", "POST identities")


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"{", 422),
        (b"{'name': 1}", 422),
        (b'"text"', 422),
        (b"[]", 422),
        (b"null", 422),
        (b"", 422),
        (b"\xff\xfe", 422),
        (DEEP.encode(), 422),
        (b'{"metadata": ' + DEEP.encode() + b"}", 422),
        (b'{"metadata": {"a": NaN}}', 422),
        (b'{"metadata": {"a": 1e999}}', 422),
        (b'{"metadata": {"a": ' + b"9" * 40 + b"}}", 422),
        (b'{"metadata": {"a": ' + b"9" * 5000 + b"}}", 422),
        (b'{"metadata": {"\\ud800": 1}}', 422),
        (b'{"name": "\\ud800"}', 422),
        (b'{"label": "\\ud800", "value": ""}', 422),
    ],
)
async def test_body_that_is_no_json_or_cannot_be_stored_is_refused(
    served: Served, write: str, content: bytes, status: int
) -> None:
    method, path = write.format(agent=await agent_of(served)).split()
    before = await everything(served)
    answer = await served.http.request(method, f"/v1/{path}", content=content, headers=JSON)
    assert answer.status_code == status, answer.text
    assert answer.json()["detail"]
    assert await everything(served) == before


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "nonsense"])
async def test_body_of_another_content_type_is_refused_with_the_right_one(served: Served, kind: str) -> None:
    answer = await served.http.post(
        "/v1/blocks/", content=b'{"label": "a", "value": ""}', headers={"content-type": kind}
    )
    assert answer.status_code in (415, 422)
    assert "application/json" in answer.json()["detail"]


async def test_nul_characters_are_left_out_of_what_is_stored(served: Served) -> None:
    agent = await served.agent(
        name="a\x00b", metadata={"k\x00": "v\x00"}, memory_blocks=[{"label": "human", "value": "\x00"}]
    )
    assert (agent["name"], agent["metadata"], agent["blocks"][0]["value"]) == ("ab", {"k": "v"}, "")
    answer = await served.send(agent["id"], "echo a\x00b")
    assert answer["messages"][0]["content"] == "ab"


LISTS = ("agents", "blocks", "tools", "runs", "steps", "identities", "providers", "tags", "messages", "models")


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=-1",
        "limit=99999999999999999999",
        "limit=x",
        "order=sideways",
        "order_by=secrets",
        "after=%00",
        "before=%ED%A0%80",
        "after=%27%3B--",
        "name=%00",
        "name=%ED%A0%80",
        "name=%25_",
        "query_text=%00",
        "project_id=%00",
        "agent_id=%00",
        "tags=%00&tags=%F0%9F%A6%8A",
        "value_search=%00",
        "identifier_keys=%00",
        "conversation_id=%00",
        "start_date=yesterday",
        "model=%00",
        "connected_to_agents_count_gt=99999999999999999999",
    ],
)
async def test_odd_queries_are_answered_or_refused_but_break_nothing(served: Served, name: str, query: str) -> None:
    answer = await served.http.get(f"/v1/{name}/?{query}")
    assert answer.status_code in (200, 400, 404, 422, 501), answer.text
    answer.json()


@pytest.mark.parametrize("label", ["%00", "%ED%A0%80", "%F0%9F%A6%8A", "x" * 3000, "a%20b"])
async def test_odd_labels_in_paths_are_not_found(served: Served, label: str) -> None:
    agent_id = await agent_of(served)
    answer = await served.http.get(f"/v1/agents/{agent_id}/core-memory/blocks/{label}")
    assert answer.status_code in (404, 422), answer.text
    answer.json()


async def test_odd_messages_are_answered_or_refused_but_break_nothing(served: Served) -> None:
    agent_id = await agent_of(served)
    odd: list[Any] = [
        "",
        " ",
        "🦊" * 1000,
        "\u202e\u0000\ufeff",
        [],
        [{"type": "text", "text": ""}],
        [{"type": "image", "source": {"type": "url", "url": "nonsense"}}],
        [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "%%%"}}],
        [{"type": "unknown"}],
        {"type": "text"},
        7,
    ]
    for content in odd:
        for streaming in (False, True):
            body = {"messages": [{"role": "user", "content": content}], "streaming": streaming}
            answer = await served.http.post(f"/v1/agents/{agent_id}/messages", json=body)
            assert answer.status_code in (200, 400, 422), (content, answer.text)
    assert (await served.send(agent_id, "echo alive"))["messages"][0]["content"] == "alive"


def pictured(**source: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "base64", **source}}]}]}


def with_tools(*names: str) -> dict[str, Any]:
    return {"input": "hello", "client_tools": [{"name": name} for name in names]}


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (pictured(media_type="text/html", data="aGVsbG8="), "media_type 'text/html' is no image"),
        (pictured(media_type="image/png", data="data:text/html;base64,aGVsbG8="), "media_type 'text/html' is no image"),
        (pictured(media_type="image/png", data="!!!"), "data is not base64"),
        (pictured(media_type="image/png", data=""), "data is empty"),
        (with_tools("a b"), "client_tools.0.name"),
        (with_tools("fine", ""), "client_tools.1.name"),
        (with_tools("x" * 65), "client_tools.0.name"),
        (with_tools("same", "same"), "client_tools: the name 'same' is given twice"),
    ],
)
async def test_what_no_provider_takes_is_refused_and_not_stored(
    served: Served, body: dict[str, Any], named: str
) -> None:
    agent_id = await agent_of(served)
    before = await everything(served)
    answer = await served.http.post(f"/v1/agents/{agent_id}/messages", json=body)
    assert (answer.status_code, named in answer.json()["detail"]) == (422, True), answer.text
    assert await everything(served) == before
