"""Searching what was said, over HTTP and by the agent itself."""

from pathlib import Path
from typing import Any

import orjson
import pytest
from tests.serving import Served, serve

from letta.models.scripted import Call

OPENING = [
    {"role": "user", "name": "Maya", "content": "We booked a flat on Harbour Street."},
    {"role": "assistant", "content": "Congratulations on the flat!"},
    {"role": "user", "name": "Tom", "content": "I would like some tea."},
    {"role": "assistant", "content": "With milk?"},
]


async def talk(served: Served, **fields: Any) -> dict[str, Any]:
    return await served.agent(initial_message_sequence=OPENING, **fields)


async def found(served: Served, path: str = "/v1/messages/search", **fields: Any) -> list[dict[str, Any]]:
    answer = await served.http.post(path, json=fields)
    assert answer.status_code == 200, answer.text
    results: list[dict[str, Any]] = answer.json()
    return results


async def test_message_is_found_in_the_newer_form(served: Served) -> None:
    agent = await talk(served)
    [first, *_] = await found(served, query="harbour", agent_id=agent["id"], search_mode="fts")
    stored = (await served.http.get(f"/v1/messages/{first['message_id']}")).json()
    assert first == {
        "message_type": "user_message",
        "content": "We booked a flat on Harbour Street.",
        "message_id": stored[0]["id"],
        "agent_id": agent["id"],
        "conversation_id": None,
        "created_at": first["created_at"],
        "score": 1.0,
    }


async def test_older_form_holds_the_whole_message_and_its_ranks(served: Served) -> None:
    agent = await talk(served)
    path = "/v1/agents/messages/search"
    [first] = await found(served, path, query="harbour", search_mode="fts", roles=["user"])
    listed = (await served.http.get(f"/v1/agents/{agent['id']}/messages")).json()
    assert first == {
        "embedded_text": "We booked a flat on Harbour Street.",
        "message": next(message for message in listed if message.get("name") == "Maya"),
        "fts_rank": 1,
        "vector_rank": None,
        "rrf_score": 1.0,
    }


async def test_all_agents_are_searched_unless_one_is_named(served: Served) -> None:
    first, second = await talk(served), await talk(served)
    assert {one["agent_id"] for one in await found(served, query="harbour")} >= {first["id"], second["id"]}
    assert {one["agent_id"] for one in await found(served, query="harbour", agent_id=first["id"])} == {first["id"]}


async def test_roles_choose_who_spoke(served: Served) -> None:
    agent = await talk(served)
    path = "/v1/agents/messages/search"
    said = await found(served, path, query="flat", roles=["assistant"], search_mode="fts")
    assert [one["embedded_text"] for one in said] == ["Congratulations on the flat!"]
    assert await found(served, path, query="flat", roles=["tool"]) == []
    assert agent["id"]


async def test_end_date_alone_includes_the_day(served: Served) -> None:
    agent = await talk(served)
    [first, *_] = await found(served, query="harbour", agent_id=agent["id"], search_mode="fts")
    day = first["created_at"][:10]
    fields = {"query": "harbour", "agent_id": agent["id"], "search_mode": "fts"}
    assert await found(served, end_date=day, start_date=day, **fields)
    assert await found(served, end_date="2020-01-01", **fields) == []


@pytest.mark.parametrize(
    ("fields", "status", "said"),
    [
        ({"query": "x", "limit": 0}, 422, "limit"),
        ({"query": "x", "search_mode": "magic"}, 422, "search_mode"),
        ({"query": "x", "start_date": "soon"}, 422, "start_date 'soon'"),
        ({"query": "x", "agent_id": "agent-00000000-0000-4000-8000-000000000000"}, 404, "not found"),
        ({"query": "x", "conversation_id": "conv-00000000-0000-4000-8000-000000000000"}, 404, "not found"),
        ({"query": 5}, 422, "query"),
        ({"query": "x", "end_date": "0001-01-01T00:00:00+14:00"}, 422, "end_date"),
    ],
)
async def test_bad_searches_are_explained(served: Served, fields: dict[str, Any], status: int, said: str) -> None:
    answer = await served.http.post("/v1/messages/search", json=fields)
    assert answer.status_code == status
    assert said in str(answer.json()["detail"])


async def test_empty_query_gives_the_newest_messages(served: Served) -> None:
    agent = await talk(served)
    newest = await found(served, query="", agent_id=agent["id"], limit=2)
    assert [one["content"] for one in newest] == ["With milk?", "I would like some tea."]


async def test_search_without_vectors_says_that_it_went_by_words(tmp_path: Path) -> None:
    async with serve(tmp_path) as served:
        agent = await talk(served, embedding="nobody/model")
        answer = await served.http.post(
            "/v1/messages/search", json={"query": "harbour", "agent_id": agent["id"], "search_mode": "vector"}
        )
    assert answer.headers["x-search-mode"] == "fts"
    assert answer.json()[0]["content"] == "We booked a flat on Harbour Street."


async def test_agent_finds_what_was_said_but_not_its_own_searching(tmp_path: Path) -> None:
    search = Call("conversation_search", {"query": "harbour flat", "limit": 3})
    async with serve(tmp_path, [search, "You live on Harbour Street.", search, "As I said."]) as served:
        agent = await talk(served, timezone="Europe/Lisbon")
        first = await served.send(agent["id"], "harbour flat?")
        await served.send(agent["id"], "harbour flat, again?")
        results = [result for request in served.model.requests for result in request.messages[-1].tool_returns]
    once, twice = (orjson.loads(str(result.content)) for result in results)
    assert first["messages"][1]["status"] == "success"
    # What is asked in this very turn is not found, and what the agent looked for before neither.
    assert "harbour flat?" not in [one["content"] for one in once["results"]]
    assert once["results"][0]["content"] == "We booked a flat on Harbour Street."
    assert once["results"][0]["role"] == "user"
    assert {"timestamp", "time_ago", "role", "content"} <= once["results"][0].keys()
    assert "harbour flat, again?" not in [one["content"] for one in twice["results"]]
    assert "harbour flat?" in [one["content"] for one in twice["results"]]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"query": "x", "start_date": "soon"}, "start_date 'soon' is not an ISO 8601"),
        ({"roles": ["tool"]}, "No messages found"),
        ({"query": "zzz"}, "No messages found"),
        ({"nonsense": 1}, "nonsense is not an argument"),
        ({"roles": ["user", "bad"]}, "roles holds 'bad', which must be one of user, assistant, tool"),
        ({"query": "x", "limit": -1}, "limit must be at least 1, not -1"),
    ],
)
async def test_agents_bad_search_is_explained_to_it(tmp_path: Path, arguments: dict[str, Any], said: str) -> None:
    async with serve(tmp_path, [Call("conversation_search", arguments), "Oh."]) as served:
        agent = await served.agent(embedding="nobody/model")
        answer = await served.send(agent["id"], "go")
    assert said in answer["messages"][1]["tool_return"]
