"""Archives and passages over HTTP, and what an agent finds in them."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.embedding_server import REFUSED, EmbeddingServer, embedding_server
from tests.serving import Served, serve

from letta.models.minilm import HANDLE
from letta.models.scripted import Call

PATIENCE = 20.0


async def until(check: Callable[[], Awaitable[bool]]) -> None:
    """Wait for something that shows over HTTP only."""
    async with asyncio.timeout(PATIENCE):
        while not await check():  # noqa: ASYNC110 - there is no event to wait for: the answer comes over HTTP
            await asyncio.sleep(0.01)


async def archive(served: Served, **fields: Any) -> dict[str, Any]:
    answer = await served.http.post("/v1/archives/", json={"name": "notes", **fields})
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def keep(served: Served, archive_id: str, *texts: str, **fields: Any) -> list[dict[str, Any]]:
    body = {"passages": [{"text": text, **fields} for text in texts]}
    answer = await served.http.post(f"/v1/archives/{archive_id}/passages/batch", json=body)
    assert answer.status_code == 200, answer.text
    made: list[dict[str, Any]] = answer.json()
    return made


async def search(served: Served, **fields: Any) -> list[str]:
    """The texts found, best first."""
    answer = await served.http.post("/v1/passages/search", json=fields)
    assert answer.status_code == 200, answer.text
    return [found["passage"]["text"] for found in answer.json()]


async def with_provider(served: Served, provider: EmbeddingServer) -> str:
    """A provider of embeddings, added through the API. Answers the handle of its model."""
    body = {"name": "words", "provider_type": "openai", "api_key": "k", "base_url": f"{provider.url}/v1"}
    answer = await served.http.post("/v1/providers/", json=body)
    assert answer.status_code == 200, answer.text
    return "words/word-embed"


async def embedded(served: Served, path: str) -> dict[str, Any]:
    """Wait until nothing waits for a vector; answers the progress."""
    progress: dict[str, Any] = {}

    async def done() -> bool:
        progress.update((await served.http.get(f"{path}/embedding")).json())
        return not progress["waiting"]

    await until(done)
    return progress


async def test_archive_is_made_changed_listed_and_deleted(served: Served) -> None:
    made = await archive(served, name="recipes", description="what we cook")
    changed = await served.http.patch(f"/v1/archives/{made['id']}", json={"name": "dishes"})
    listed = await served.http.get("/v1/archives/", params={"name": "dishes"})
    gone = await served.http.delete(f"/v1/archives/{made['id']}")
    missing = await served.http.get(f"/v1/archives/{made['id']}")
    assert changed.json() == {**made, "name": "dishes", "updated_at": changed.json()["updated_at"]}
    assert listed.json() == [changed.json()]
    assert (gone.status_code, gone.content) == (204, b"")
    assert (missing.status_code, missing.json()) == (404, {"detail": f"archive {made['id']} not found"})


async def test_passage_is_returned_whole_and_found_at_once(served: Served) -> None:
    home = await archive(served)
    body = {"text": "The key is under the blue pot.", "tags": ["house"], "metadata": {"from": "Ann"}}
    made = (await served.http.post(f"/v1/archives/{home['id']}/passages", json=body)).json()
    assert made == {
        "id": made["id"],
        "text": "The key is under the blue pot.",
        "embedding": None,
        "embedding_config": home["embedding_config"],
        "archive_id": home["id"],
        "source_id": None,
        "file_id": None,
        "file_name": None,
        "tags": ["house"],
        "metadata": {"from": "Ann"},
        "is_deleted": False,
        "created_at": made["created_at"],
        "updated_at": made["updated_at"],
        "created_by_id": None,
        "last_updated_by_id": None,
    }
    assert await search(served, query="key", archive_id=home["id"]) == ["The key is under the blue pot."]


async def test_agent_gets_one_archive_with_its_first_passage(served: Served) -> None:
    agent = await served.agent()
    path = f"/v1/agents/{agent['id']}/archival-memory"
    first = (await served.http.post(path, json={"text": "Bob likes tea."})).json()
    second = (await served.http.post(path, json={"text": "Bob dislikes rain."})).json()
    archives = (await served.http.get("/v1/archives/", params={"agent_id": agent["id"]})).json()
    listed = (await served.http.get(path)).json()
    assert [len(first), len(second)] == [1, 1]
    assert [one["id"] for one in archives] == [first[0]["archive_id"]]
    assert listed == [*first, *second]


async def test_shared_archive_is_read_by_every_agent_that_has_it(served: Served) -> None:
    home = await archive(served)
    agents = [await served.agent(name=name) for name in ("Ada", "Ben")]
    for agent in agents:
        path = f"/v1/agents/{agent['id']}/archives/attach/{home['id']}"
        assert (await served.http.patch(path)).json() is None
        assert (await served.http.patch(path)).status_code == 200
    await served.http.post(f"/v1/agents/{agents[0]['id']}/archival-memory", json={"text": "The door code is 4711."})
    found = await served.http.get(f"/v1/agents/{agents[1]['id']}/archival-memory/search", params={"query": "door code"})
    readers = (await served.http.get(f"/v1/archives/{home['id']}/agents")).json()
    assert [result["content"] for result in found.json()["results"]] == ["The door code is 4711."]
    assert {agent["name"] for agent in readers} == {"Ada", "Ben"}
    await served.http.patch(f"/v1/agents/{agents[1]['id']}/archives/detach/{home['id']}")
    assert await search(served, query="door code", agent_id=agents[1]["id"]) == []


async def test_list_is_paged_searched_and_ordered(served: Served) -> None:
    agent = await served.agent()
    path = f"/v1/agents/{agent['id']}/archival-memory"
    texts = [f"Number {number} is {'ODD' if number % 2 else 'even'}" for number in range(5)]
    made = [(await served.http.post(path, json={"text": text})).json()[0] for text in texts]
    page = await served.http.get(path, params={"limit": 2, "after": made[1]["id"]})
    newest = await served.http.get(path, params={"limit": 2, "ascending": "false"})
    odd = await served.http.get(path, params={"search": "odd"})
    assert page.json() == made[2:4]
    assert newest.json() == [made[4], made[3]]
    assert odd.json() == [made[1], made[3]]


async def test_deleted_passage_is_listed_and_found_no_more(served: Served) -> None:
    agent = await served.agent()
    path = f"/v1/agents/{agent['id']}/archival-memory"
    [made] = (await served.http.post(path, json={"text": "A secret."})).json()
    gone = await served.http.delete(f"{path}/{made['id']}")
    again = await served.http.delete(f"{path}/{made['id']}")
    assert gone.json() == {"message": f"Memory id={made['id']} successfully deleted"}
    assert again.status_code == 404
    assert (await served.http.get(path)).json() == []
    assert await search(served, query="secret", agent_id=agent["id"]) == []


@pytest.mark.parametrize(
    ("tags", "mode", "expected"),
    [
        (["red"], "any", {"apple", "rose"}),
        (["red", "fruit"], "any", {"apple", "rose", "pear"}),
        (["red", "fruit"], "all", {"apple"}),
        (["blue"], "any", set()),
    ],
)
async def test_search_by_tags_wants_any_or_all(served: Served, tags: list[str], mode: str, expected: set[str]) -> None:
    home = await archive(served)
    for text, its in (("apple", ["red", "fruit"]), ("rose", ["red"]), ("pear", ["fruit"]), ("stone", [])):
        await keep(served, home["id"], text, tags=its)
    fields = {"archive_id": home["id"], "tags": tags, "tag_match_mode": mode}
    assert set(await search(served, **fields)) == expected
    assert set(await search(served, query="apple rose pear stone", **fields)) == expected


async def test_end_date_alone_includes_that_day_in_the_agents_timezone(served: Served) -> None:
    agent = await served.agent(timezone="America/New_York")
    path = f"/v1/agents/{agent['id']}/archival-memory"
    # In New York it is still the 10th of March.
    late = {"text": "The lamp went out.", "created_at": "2026-03-11T03:30:00Z"}
    await served.http.post(path, json=late)
    for day, expected in (("2026-03-10", ["The lamp went out."]), ("2026-03-09", [])):
        answer = await served.http.get(f"{path}/search", params={"query": "lamp", "end_datetime": day})
        assert [result["content"] for result in answer.json()["results"]] == expected
        assert await search(served, query="lamp", agent_id=agent["id"], end_date=day) == expected
    begin = await served.http.get(f"{path}/search", params={"query": "lamp", "start_datetime": "2026-03-11"})
    assert begin.json() == {"results": [], "count": 0}


async def test_without_a_query_the_newest_passages_are_given(served: Served) -> None:
    home = await archive(served)
    await keep(served, home["id"], "one", created_at="2026-01-01T00:00:00Z")
    await keep(served, home["id"], "two", created_at="2026-01-02T00:00:00Z")
    assert await search(served, archive_id=home["id"]) == ["two", "one"]
    assert await search(served, archive_id=home["id"], limit=1, query="") == ["two"]


async def test_agents_search_for_nothing_finds_nothing(served: Served) -> None:
    agent = await served.agent()
    path = f"/v1/agents/{agent['id']}/archival-memory"
    await served.http.post(path, json={"text": "something"})
    assert (await served.http.get(f"{path}/search", params={"query": "  "})).json() == {"results": [], "count": 0}


async def test_any_script_is_found_by_its_words(served: Served) -> None:
    home = await archive(served)
    texts = [
        "我们昨天在东京吃了拉面。",
        "Вчера мы видели медведя в лесу.",
        "ฉันชอบกินข้าวเหนียวมะม่วง",
        "كان الجو باردا في القاهرة",
    ]
    await keep(served, home["id"], *texts)
    for query, text in zip(("东京", "медведя", "ข้าวเหนียว", "القاهرة"), texts, strict=True):
        answer = await served.http.post(
            "/v1/passages/search", json={"query": query, "archive_id": home["id"], "search_mode": "fts"}
        )
        assert [found["passage"]["text"] for found in answer.json()] == [text]


async def test_long_text_is_one_passage_found_by_any_part(served: Served) -> None:
    home = await archive(served)
    filler = "Nothing happened on this day, and the next one was the same. "
    text = filler * 8_000 + "The treasure lies below the chapel. " + filler * 8_000
    assert len(text) > 900_000
    made = (await served.http.post(f"/v1/archives/{home['id']}/passages", json={"text": text})).json()
    answer = await served.http.post(
        "/v1/passages/search", json={"query": "treasure chapel", "archive_id": home["id"], "search_mode": "fts"}
    )
    [found] = answer.json()
    assert found["passage"] == made
    assert "treasure lies below the chapel" in found["metadata"]["matching_text"]


@pytest.mark.parametrize(
    ("body", "named"), [({"text": ""}, "text"), ({"text": " \n "}, "text"), ({"text": 5}, "text"), ({}, "text")]
)
async def test_bad_passages_are_refused_by_name(served: Served, body: dict[str, Any], named: str) -> None:
    home = await archive(served)
    answer = await served.http.post(f"/v1/archives/{home['id']}/passages", json=body)
    assert answer.status_code == 422
    assert named in str(answer.json()["detail"])


async def test_batch_is_stored_whole_or_not_at_all(served: Served) -> None:
    home = await archive(served)
    body = {"passages": [{"text": "fine"}, {"text": " "}]}
    answer = await served.http.post(f"/v1/archives/{home['id']}/passages/batch", json=body)
    assert answer.status_code == 422
    assert "passages.1.text" in answer.json()["detail"]
    assert await search(served, archive_id=home["id"]) == []


async def test_unknown_archives_and_dates_are_explained(served: Served) -> None:
    unknown = "archive-00000000-0000-4000-8000-000000000000"
    agent = await served.agent()
    kept = await served.http.post(f"/v1/archives/{unknown}/passages", json={"text": "x"})
    searched = await served.http.post("/v1/passages/search", json={"query": "x", "archive_id": unknown})
    attached = await served.http.patch(f"/v1/agents/{agent['id']}/archives/attach/nonsense")
    dated = await served.http.post("/v1/passages/search", json={"query": "x", "end_date": "tomorrow"})
    assert [answer.status_code for answer in (kept, searched, attached, dated)] == [404, 404, 400, 422]
    assert "end_date 'tomorrow' is not an ISO 8601 date" in dated.json()["detail"]


async def test_nul_bytes_are_dropped(served: Served) -> None:
    home = await archive(served)
    [made] = await keep(served, home["id"], "be\x00fore")
    assert made["text"] == "before"
    assert await search(served, query="be\x00fore", archive_id=home["id"]) == ["before"]


# -- embedding ---------------------------------------------------------------------------------------------------------


async def test_provider_embeds_in_the_background_and_meaning_is_found(served: Served) -> None:
    async with embedding_server() as provider:
        home = await archive(served, embedding=await with_provider(served, provider))
        await keep(served, home["id"], "red apples", "green pears", "old stones")
        progress = await embedded(served, f"/v1/archives/{home['id']}")
        answer = await served.http.post(
            "/v1/passages/search", json={"query": "apples", "archive_id": home["id"], "search_mode": "vector"}
        )
    assert progress == {
        "model": "words/word-embed", "pieces": 3, "embedded": 3, "waiting": 0, "failed": 0, "error": None,
    }  # fmt: skip
    assert answer.headers["x-search-mode"] == "vector"
    assert answer.json()[0]["passage"]["text"] == "red apples"
    assert answer.json()[0]["metadata"]["vector_rank"] == 1


async def test_provider_that_is_down_delays_vectors_and_nothing_else(served: Served) -> None:
    async with embedding_server(down=503) as provider:
        home = await archive(served, embedding=await with_provider(served, provider))
        await keep(served, home["id"], "red apples")

        async def failed() -> bool:
            return "out of order" in str(
                (await served.http.get(f"/v1/archives/{home['id']}/embedding")).json()["error"]
            )

        await until(failed)
        answer = await served.http.post(
            "/v1/passages/search", json={"query": "apples", "archive_id": home["id"], "search_mode": "hybrid"}
        )
        provider.down = None
        progress = await embedded(served, f"/v1/archives/{home['id']}")
    assert [found["passage"]["text"] for found in answer.json()] == ["red apples"]
    assert answer.headers["x-search-mode"] == "fts"
    assert progress["embedded"] == 1
    assert progress["error"] is None


async def test_text_the_model_refuses_does_not_stop_the_others(served: Served) -> None:
    async with embedding_server() as provider:
        home = await archive(served, embedding=await with_provider(served, provider))
        await keep(served, home["id"], "red apples", f"{REFUSED} things", "green pears")
        progress = await embedded(served, f"/v1/archives/{home['id']}")
    assert (progress["embedded"], progress["failed"]) == (2, 1)
    assert "cannot be embedded" in progress["error"]
    assert await search(served, query=REFUSED, archive_id=home["id"], search_mode="fts") == [f"{REFUSED} things"]


async def test_other_model_embeds_everything_again(served: Served) -> None:
    async with embedding_server() as provider:
        handle = await with_provider(served, provider)
        home = await archive(served, embedding=handle)
        await keep(served, home["id"], "red apples", "green pears")
        await embedded(served, f"/v1/archives/{home['id']}")
        provider.dimension = 32
        changed = await served.http.patch(f"/v1/archives/{home['id']}", json={"embedding": f"{handle}-2"})
        progress = await embedded(served, f"/v1/archives/{home['id']}")
        found = await search(served, query="pears", archive_id=home["id"], search_mode="vector")
    assert changed.json()["embedding_config"]["handle"] == "words/word-embed-2"
    assert (progress["model"], progress["embedded"]) == ("words/word-embed-2", 2)
    assert found[0] == "green pears"


async def test_search_knows_which_model_an_archive_has_now(served: Served) -> None:
    """Also when it had the local one at its last search; a provider is asked by those only that have its model."""
    async with embedding_server() as provider:
        handle = await with_provider(served, provider)
        home = await archive(served, embedding=HANDLE)
        await keep(served, home["id"], "red apples", "green pears")
        found = []
        for model in (HANDLE, handle, HANDLE):
            await served.http.patch(f"/v1/archives/{home['id']}", json={"embedding": model})
            await embedded(served, f"/v1/archives/{home['id']}")
            for query in ("which pears", "what pears"):
                fields = {"query": f"{query} of {model}", "archive_id": home["id"], "search_mode": "vector"}
                answer = await served.http.post("/v1/passages/search", json=fields)
                found.append((answer.headers["x-search-mode"], answer.json()[0]["passage"]["text"]))
    assert found == [("vector", "green pears")] * 6
    assert [asked for asked in provider.asked if "pears of" in asked[0]] == [
        [f"which pears of {handle}"],
        [f"what pears of {handle}"],
    ]


async def test_vectors_of_another_length_are_left_out_not_compared(served: Served) -> None:
    async with embedding_server() as provider:
        home = await archive(served, embedding=await with_provider(served, provider))
        await keep(served, home["id"], "red apples")
        await embedded(served, f"/v1/archives/{home['id']}")
        provider.dimension = 32
        await keep(served, home["id"], "green pears")
        await embedded(served, f"/v1/archives/{home['id']}")
        found = await search(served, query="green pears", archive_id=home["id"], search_mode="vector")
        both = await search(served, query="apples pears", archive_id=home["id"])
    assert found == ["green pears"]
    assert set(both) == {"red apples", "green pears"}


async def test_wrong_length_of_a_known_models_vectors_is_shown_and_asked_again(served: Served) -> None:
    async with embedding_server(dimension=5) as provider:
        await with_provider(served, provider)
        home = await archive(served, embedding="words/text-embedding-3-small")
        await keep(served, home["id"], "red apples")

        async def said() -> bool:
            progress = (await served.http.get(f"/v1/archives/{home['id']}/embedding")).json()
            return "5 numbers instead of 1536" in str(progress["error"]) and progress["embedded"] == 0

        await until(said)
        provider.dimension = 1536
        progress = await embedded(served, f"/v1/archives/{home['id']}")
        found = await search(served, query="apples", archive_id=home["id"], search_mode="vector")
    assert (progress["embedded"], progress["error"]) == (1, None)
    assert found == ["red apples"]


async def test_unknown_provider_is_said_and_words_still_work(served: Served) -> None:
    home = await archive(served, embedding="nobody/some-model")
    await keep(served, home["id"], "red apples")

    async def said() -> bool:
        progress = (await served.http.get(f"/v1/archives/{home['id']}/embedding")).json()
        return "no provider called 'nobody'" in str(progress["error"])

    await until(said)
    assert await search(served, query="apples", archive_id=home["id"]) == ["red apples"]


async def test_waiting_vectors_survive_a_restart(tmp_path: Path) -> None:
    async with embedding_server(down=503) as provider:
        async with serve(tmp_path) as served:
            home = await archive(served, embedding=await with_provider(served, provider))
            await keep(served, home["id"], "red apples")
        provider.down = None
        async with serve(tmp_path) as served:
            progress = await embedded(served, f"/v1/archives/{home['id']}")
    assert progress["embedded"] == 1


# -- the agent's own tools ---------------------------------------------------------------------------------------------

TOOLS = ["archival_memory_insert", "archival_memory_search"]


async def test_agent_keeps_something_and_finds_it_again(tmp_path: Path) -> None:
    script = [
        Call("archival_memory_insert", {"content": "Ana lives in Lisbon.", "tags": ["family"]}),
        "Noted.",
        Call("archival_memory_search", {"query": "Lisbon", "tags": ["family"]}),
        "In Lisbon.",
    ]
    async with serve(tmp_path, script) as served:
        agent = await served.agent(tools=TOOLS, timezone="Europe/Lisbon")
        await served.send(agent["id"], "Ana moved to Lisbon.")
        answer = await served.send(agent["id"], "Where does Ana live?")
        [passage] = (await served.http.get(f"/v1/agents/{agent['id']}/archival-memory")).json()
        context = (await served.http.get(f"/v1/agents/{agent['id']}/context")).json()
    result = next(one for one in answer["messages"] if one["message_type"] == "tool_return_message")
    assert result["status"] == "success"
    assert passage["id"] in result["tool_return"]
    assert '"content":"Ana lives in Lisbon.","tags":["family"]' in result["tool_return"]
    assert context["num_archival_memory"] == 1


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("archival_memory_insert", {"content": " "}, "content is empty"),
        ("archival_memory_insert", {"content": "x" * 40_001}, "the limit is 40000"),
        ("archival_memory_search", {"query": "x", "end_datetime": "soon"}, "end_datetime 'soon' is not an ISO 8601"),
        ("archival_memory_search", {}, "query is missing"),
    ],
)
async def test_agent_learns_what_is_wrong_with_its_call(
    tmp_path: Path, name: str, arguments: dict[str, Any], said: str
) -> None:
    async with serve(tmp_path, [Call(name, arguments), "Oh."]) as served:
        agent = await served.agent(tools=TOOLS)
        answer = await served.send(agent["id"], "go")
    result = next(one for one in answer["messages"] if one["message_type"] == "tool_return_message")
    assert result["status"] == "error"
    assert said in result["tool_return"]
