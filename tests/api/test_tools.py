"""`/v1/tools`."""

from pathlib import Path
from typing import Any

import orjson
import pytest
from tests.serving import Served, serve

from letta.models.scripted import Call

UNKNOWN = "tool-00000000-0000-4000-8000-000000000000"


async def named(served: Served, name: str) -> dict[str, Any]:
    [tool] = (await served.http.get("/v1/tools/", params={"name": name})).json()
    found: dict[str, Any] = tool
    return found


async def test_the_built_in_tools_are_listed_counted_and_read(served: Served) -> None:
    tools = (await served.http.get("/v1/tools/", params={"order": "asc"})).json()
    assert {"send_message", "conversation_search", "memory_insert"} <= {tool["name"] for tool in tools}
    assert (await served.http.get("/v1/tools/count")).json() == len(tools)
    assert (await served.http.get(f"/v1/tools/{tools[0]['id']}")).json() == tools[0]
    page = await served.http.get("/v1/tools/", params={"order": "asc", "limit": 2, "after": tools[0]["id"]})
    assert page.json() == tools[1:3]


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"name": "send_message"}, {"send_message"}),
        ({"names": ["send_message", "memory_insert"]}, {"send_message", "memory_insert"}),
        ({"search": "MEMORY_appl"}, {"memory_apply_patch"}),
        ({"search": "send_mess", "tool_types": ["letta_core", "custom"]}, {"send_message"}),
        ({"search": "memory_appl", "exclude_tool_types": ["letta_sleeptime_core"]}, set()),
        ({"tool_types": ["custom"]}, set()),
        ({"tool_types": ["custom"], "return_only_letta_tools": True}, set()),
        ({"tool_ids": [UNKNOWN]}, set()),
    ],
)
async def test_a_filter_finds_what_it_says(served: Served, params: dict[str, Any], expected: set[str]) -> None:
    found = (await served.http.get("/v1/tools/", params=params)).json()
    assert {tool["name"] for tool in found} == expected
    assert (await served.http.get("/v1/tools/count", params=params)).json() == len(expected)


async def test_our_own_tools_are_those_of_a_letta_type(served: Served) -> None:
    own = await served.http.get("/v1/tools/count", params={"return_only_letta_tools": True})
    assert own.json() == (await served.http.get("/v1/tools/count")).json() > 0


async def test_a_search_answers_tools_with_scores_and_ranks(served: Served) -> None:
    found = (await served.http.post("/v1/tools/search", json={"query": "memory insert", "limit": 1})).json()
    assert found == [
        {
            "tool": await named(served, "memory_insert"),
            "combined_score": 1.0,
            "embedded_text": None,
            "fts_rank": 1,
            "vector_rank": None,
        }
    ]


async def test_what_a_person_may_set_on_a_built_in_tool_is_kept(served: Served) -> None:
    tool = await named(served, "send_message")
    changes = {"description": "Talk", "return_char_limit": 99, "tags": ["mine"], "default_requires_approval": True}
    changes["idempotent"] = True
    answer = await served.http.patch(f"/v1/tools/{tool['id']}", json={**changes, "metadata_": {"a": 1}})
    assert answer.json() == {**tool, **changes, "metadata_": {"a": 1}}
    cleared = await served.http.patch(f"/v1/tools/{tool['id']}", json={"tags": None, "metadata_": None})
    assert cleared.json() == {**tool, **changes, "tags": []}


@pytest.mark.parametrize(
    "change", [{"source_code": "x"}, {"json_schema": {"name": "y"}}, {"name": "z"}, {"source_type": "typescript"}]
)
async def test_name_and_source_of_a_built_in_tool_stay(served: Served, change: dict[str, Any]) -> None:
    tool = await named(served, "send_message")
    answer = await served.http.patch(f"/v1/tools/{tool['id']}", json={**change, "description": "Talk"})
    assert answer.status_code == 400
    assert f"{next(iter(change))}: send_message is a letta_core tool" in answer.json()["detail"]
    assert await named(served, "send_message") == tool


async def test_sending_a_built_in_tool_back_unchanged_is_fine(served: Served) -> None:
    tool = await named(served, "send_message")
    answer = await served.http.patch(f"/v1/tools/{tool['id']}", json=tool)
    assert (answer.status_code, answer.json()) == (200, tool)


async def test_a_built_in_tool_cannot_be_deleted(served: Served) -> None:
    tool = await named(served, "send_message")
    answer = await served.http.delete(f"/v1/tools/{tool['id']}")
    assert answer.status_code == 400
    assert answer.json()["detail"].startswith("INVALID_ARGUMENT: send_message is a letta_core tool")
    assert await named(served, "send_message") == tool


async def ran(served: Served, agent_id: str, name: str, **args: Any) -> tuple[str, Any]:
    """Status and return of a tool that is called as the agent would, outside of its conversations."""
    answer = await served.http.post(f"/v1/agents/{agent_id}/tools/{name}/run", json={"args": args})
    assert answer.status_code == 200, answer.text
    return answer.json()["status"], answer.json()["func_return"]


async def test_every_kind_of_built_in_tool_runs_outside_of_a_conversation(served: Served) -> None:
    other = await served.agent(name="Other")
    own = ["archival_memory_insert", "archival_memory_search", "web_search", "fetch_webpage", "run_code"]
    mine = await served.agent(
        tools=own, include_multi_agent_tools=True, memory_blocks=[{"label": "human", "value": "Bob"}]
    )
    await served.send(mine["id"], "I like heather.")
    assert (await ran(served, mine["id"], "memory_insert", label="human", new_string="Tall."))[0] == "success"
    assert (await ran(served, mine["id"], "archival_memory_insert", content="The door code is 7."))[0] == "success"
    status, found = await ran(served, mine["id"], "archival_memory_search", query="door code")
    assert (status, orjson.loads(found)["results"][0]["content"]) == ("success", "The door code is 7.")
    status, found = await ran(served, mine["id"], "conversation_search", query="heather", roles=["user"])
    assert (status, orjson.loads(found)["results"][0]["content"]) == ("success", "I like heather.")
    said = {"other_agent_id": other["id"], "message": "echo hello"}
    assert (await ran(served, mine["id"], "send_message_to_agent_and_wait_for_reply", **said))[0] == "success"
    assert await ran(served, mine["id"], "run_code", language="python", code="print(6 * 7)") == ("success", "42")
    status, told = await ran(served, mine["id"], "web_search", query="tea")
    assert (status, "EXA_API_KEY" in told) == ("error", True)
    status, told = await ran(served, mine["id"], "web_search")
    assert (status, told) == ("error", "Error: query is missing.")


async def test_base_tools_are_answered_by_name_and_keep_their_ids(served: Served) -> None:
    before = {tool["name"]: tool["id"] for tool in (await served.http.get("/v1/tools/")).json()}
    tools = (await served.http.post("/v1/tools/add-base-tools")).json()
    assert [tool["name"] for tool in tools] == sorted(before)
    assert {tool["name"]: tool["id"] for tool in tools} == before


@pytest.mark.parametrize(
    ("verb", "path", "body"),
    [
        ("POST", "/search", {"query": "x", "search_mode": "vector"}),
    ],
)
async def test_what_is_not_built_says_so_and_need_not_be_repeated(
    served: Served, verb: str, path: str, body: dict[str, Any]
) -> None:
    answer = await served.http.request(verb, f"/v1/tools{path}", json=body)
    assert (answer.status_code, answer.headers["x-should-retry"]) == (501, "false")
    assert "not built yet" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("verb", "path", "body", "status", "detail"),
    [
        ("GET", f"/{UNKNOWN}", None, 404, f"tool {UNKNOWN} not found"),
        ("PATCH", f"/{UNKNOWN}", {"description": "x"}, 404, f"tool {UNKNOWN} not found"),
        ("DELETE", f"/{UNKNOWN}", None, 404, f"tool {UNKNOWN} not found"),
        ("GET", "/tool-1", None, 422, "tool_id: String should match pattern"),
        ("GET", "?tool_types=unheard", None, 422, "tool_types.0: Input should be 'custom', 'letta_core'"),
        ("POST", "", {"description": "x"}, 422, "source_code: Field required"),
        ("POST", "/search", {"limit": 0}, 422, "limit: Input should be greater than or equal to 1"),
        ("GET", f"?after={UNKNOWN}", None, 404, f"cursor '{UNKNOWN}' not found"),
    ],
)
async def test_a_bad_request_is_told_what_is_wrong(
    served: Served, verb: str, path: str, body: dict[str, Any] | None, status: int, detail: str
) -> None:
    answer = await served.http.request(verb, f"/v1/tools{path}", json=body)
    assert (answer.status_code, detail in answer.json()["detail"]) == (status, True), answer.text


# -- tools that a model writes -----------------------------------------------------------------------------------------

SOURCE = '''
def dice(sides: int) -> int:
    """Roll.

    Args:
        sides: How many.
    """
    return 4
'''
WRITTEN = {"source_code": SOURCE, "sample_args": '{"sides": 6}', "explanation": "Chosen by a fair roll."}
WISH = {"tool_name": "dice", "prompt": "Roll a die.", "starter_code": "def dice(): ...", "validation_errors": ["short"]}


async def test_a_model_writes_a_tool_that_is_not_stored(tmp_path: Path) -> None:
    async with serve(tmp_path, [Call("write_tool", WRITTEN)]) as served:
        answer = (await served.http.post("/v1/tools/generate-tool", json=WISH)).json()
        stored = await served.http.get(f"/v1/tools/{answer['tool']['id']}")
        [asked] = served.model.requests
    assert (answer["sample_args"], answer["response"]) == ({"sides": 6}, "Chosen by a fair roll.")
    tool = answer["tool"]
    assert (tool["name"], tool["description"], tool["source_code"]) == ("dice", "Roll.", SOURCE)
    assert tool["json_schema"]["parameters"]["required"] == ["sides"]
    assert stored.status_code == 404
    assert (asked.tool_choice, [one.name for one in asked.tools]) == ("write_tool", ["write_tool"])
    assert all(part in asked.messages[0].text for part in ("Roll a die.", "def dice(): ...", "- short"))


async def test_a_model_that_wrote_no_tool_is_told_why_and_tries_once_more(tmp_path: Path) -> None:
    broken = {**WRITTEN, "source_code": SOURCE.replace("dice", "other")}
    async with serve(tmp_path, [Call("write_tool", broken), Call("write_tool", WRITTEN), "No.", "No."]) as served:
        done = await served.http.post("/v1/tools/generate-tool", json=WISH)
        told = served.model.requests[1].messages[0].text
        failed = await served.http.post("/v1/tools/generate-tool", json=WISH)
    assert (done.status_code, "- the function is called 'other', it must be called 'dice'" in told) == (200, True)
    assert failed.status_code == 502
    assert "the model wrote no usable tool: no tool was handed in: call write_tool" in failed.text


@pytest.mark.parametrize(
    ("changes", "status", "named"),
    [
        ({"tool_name": "no name"}, 422, "tool_name"),
        ({"prompt": ""}, 422, "prompt"),
        ({"handle": "openai/unheard"}, 404, "openai/unheard"),
    ],
)
async def test_a_wish_that_cannot_be_granted_says_why(
    tmp_path: Path, changes: dict[str, Any], status: int, named: str
) -> None:
    async with serve(tmp_path, scripted_models=False) as served:
        answer = await served.http.post("/v1/tools/generate-tool", json={**WISH, **changes})
    assert (answer.status_code, named in answer.text) == (status, True), answer.text
