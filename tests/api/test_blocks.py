"""`/v1/blocks`: the routes, their history, and whose a block is."""

from typing import Any
from urllib.parse import quote

import pytest
from tests.serving import Served

UNKNOWN = "block-00000000-0000-4000-8000-000000000000"
NOBODY = "identity-00000000-0000-4000-8000-000000000000"
MOST: dict[str, Any] = {
    "description": None, "limit": 100_000, "read_only": False, "tags": [], "metadata": None, "hidden": False,
    "is_template": False, "template_name": None, "name": None, "template_id": None, "base_template_id": None,
    "deployment_id": None, "entity_id": None, "preserve_on_migration": False, "project_id": None,
    "created_by_id": None, "last_updated_by_id": None,
}  # fmt: skip


async def made(served: Served, label: str = "human", value: str = "Name: Bob", **fields: Any) -> dict[str, Any]:
    answer = await served.http.post("/v1/blocks/", json={"label": label, "value": value, **fields})
    assert answer.status_code == 200, answer.text
    block: dict[str, Any] = answer.json()
    return block


async def test_a_block_is_created_read_changed_and_deleted(served: Served) -> None:
    block = await made(served)
    assert block == {**MOST, "id": block["id"], "label": "human", "value": "Name: Bob"}
    path = f"/v1/blocks/{block['id']}"
    assert (await served.http.get(path)).json() == block
    changes = {"value": "Name: Alice", "description": "Who", "tags": ["b", "a"], "metadata": {"n": 1}, "limit": 20}
    changed = (await served.http.patch(path, json=changes)).json()
    assert changed == {**block, **changes, "tags": ["a", "b"]}
    cleared = {"description": None, "metadata": None, "tags": None, "hidden": None, "limit": None}
    assert (await served.http.patch(path, json=cleared)).json() == {
        **changed, "description": None, "metadata": None, "tags": [],
    }  # fmt: skip
    deleted = await served.http.delete(path)
    assert (deleted.status_code, deleted.json()) == (200, None)
    assert (await served.http.get(path)).status_code == 404


async def test_blocks_are_listed_oldest_first_and_counted(served: Served) -> None:
    labels = [f"label {number}" for number in range(5)]
    blocks = [await made(served, label) for label in labels]
    assert (await served.http.get("/v1/blocks/")).json() == blocks
    assert (await served.http.get("/v1/blocks/count")).json() == 5
    page = await served.http.get("/v1/blocks/", params={"limit": 2, "after": blocks[1]["id"]})
    assert [block["label"] for block in page.json()] == ["label 2", "label 3"]
    back = await served.http.get("/v1/blocks/", params={"limit": 2, "before": blocks[4]["id"], "order": "asc"})
    assert [block["label"] for block in back.json()] == ["label 2", "label 3"]
    newest = await served.http.get("/v1/blocks/", params={"limit": 1, "order": "desc"})
    assert newest.json() == blocks[-1:]


async def test_blocks_made_together_are_listed_in_their_order(served: Served) -> None:
    labels = [f"label {number}" for number in range(8)]
    agent = await served.agent(memory_blocks=[{"label": label, "value": ""} for label in labels])
    for path in ("/v1/blocks/", f"/v1/agents/{agent['id']}/core-memory/blocks"):
        assert [block["label"] for block in (await served.http.get(path)).json()] == labels


async def test_blocks_are_found_by_label_name_tags_identity_and_number_of_agents(served: Served) -> None:
    mine = await made(served, "mine", tags=["x"], name="starter")
    other = await made(served, "other", tags=["x", "y"])
    identity = {"identifier_key": "u-1", "name": "Ada", "identity_type": "user", "block_ids": [other["id"]]}
    identity_id = (await served.http.post("/v1/identities/", json=identity)).json()["id"]
    await served.agent(block_ids=[mine["id"]])
    cases: list[tuple[dict[str, Any], list[dict[str, Any]]]] = [
        ({"label": "mine"}, [mine]),
        ({"name": "starter"}, [mine]),
        ({"tags": ["x", "y"], "match_all_tags": True}, [other]),
        ({"identity_id": identity_id}, [other]),
        ({"identifier_keys": ["u-1", "u-2"]}, [other]),
        ({"connected_to_agents_count_eq": [1]}, [mine]),
        ({"label_search": "THE", "value_search": "bob"}, [other]),
    ]
    for params, expected in cases:
        assert (await served.http.get("/v1/blocks/", params=params)).json() == expected, params


async def test_every_write_is_a_version_that_can_be_compared_undone_redone_and_written_again(served: Served) -> None:
    block = await made(served, value="one")
    path = f"/v1/blocks/{block['id']}"
    await served.http.patch(path, json={"value": "two"})

    async def shown(verb: str, **body: Any) -> str:
        answer = await served.http.post(f"{path}/{verb}", json=body or None)
        assert answer.status_code == 200, answer.text
        value: str = answer.json()["value"]
        return value

    assert await shown("undo") == "one"
    assert await shown("redo") == "two"
    assert await shown("revert", version=1) == "one"
    assert await shown("undo") == "two"
    versions = (await served.http.get(f"{path}/versions")).json()
    assert [(one["version"], one["action"], one["value"]) for one in versions] == [
        (6, "undo", "two"), (5, "revert", "one"), (4, "redo", "two"), (3, "undo", "one"), (2, "edit", "two"),
        (1, "create", "one"),
    ]  # fmt: skip
    assert {one["author_type"] for one in versions} == {"user"}
    older = await served.http.get(f"{path}/versions", params={"before": 3, "limit": 1})
    assert older.json() == [versions[4]]
    diff = await served.http.get(f"{path}/diff", params={"from_version": 1, "to_version": 2})
    assert diff.json() == {
        "from_version": 1,
        "to_version": 2,
        "diff": "--- version 1\n+++ version 2\n@@ -1 +1 @@\n-one\n+two",
    }


async def test_the_agents_of_a_block_are_listed_in_pages_with_the_relations_asked_for(served: Served) -> None:
    block = await made(served)
    agents = [await served.agent(name=name, block_ids=[block["id"]], tags=["t"]) for name in ("Ada", "Bob")]
    await served.agent(name="Eve")
    path = f"/v1/blocks/{block['id']}/agents"
    newest = (await served.http.get(path, params={"limit": 1, "include": ["agent.tags"]})).json()
    assert [(agent["name"], agent["tags"], agent["blocks"]) for agent in newest] == [("Bob", ["t"], [])]
    following = (await served.http.get(path, params={"after": agents[1]["id"], "include": "agent.blocks"})).json()
    assert [(agent["name"], agent["blocks"]) for agent in following] == [("Ada", [block])]


async def test_an_identity_is_attached_to_a_block_once_and_detached(served: Served) -> None:
    block = await made(served)
    body = {"identifier_key": "u-1", "name": "Ada", "identity_type": "user"}
    identity = (await served.http.post("/v1/identities/", json=body)).json()
    path = f"/v1/blocks/{block['id']}/identities"
    for _ in range(2):
        attached = await served.http.patch(f"{path}/attach/{identity['id']}")
        assert (attached.status_code, attached.json()) == (200, block)
    read = (await served.http.get(f"/v1/identities/{identity['id']}")).json()
    assert read == {**identity, "block_ids": [block["id"]]}
    assert (await served.http.patch(f"{path}/detach/{identity['id']}")).json() == block
    again = await served.http.patch(f"{path}/detach/{identity['id']}")
    assert again.status_code == 404


@pytest.mark.parametrize(
    ("verb", "path", "body", "status", "detail"),
    [
        ("POST", "", {"label": "x"}, 422, "value: Field required"),
        ("POST", "", {"label": "x", "value": "four", "limit": 3}, 422, "would hold 4 characters, its limit is 3"),
        ("GET", "/block-1", None, 422, "block_id: String should match pattern"),
        ("GET", f"/{UNKNOWN}", None, 404, f"block {UNKNOWN} not found"),
        ("PATCH", f"/{UNKNOWN}", {"value": "x"}, 404, f"block {UNKNOWN} not found"),
        ("DELETE", f"/{UNKNOWN}", None, 404, f"block {UNKNOWN} not found"),
        ("POST", f"/{UNKNOWN}/undo", None, 404, f"block {UNKNOWN} not found"),
        ("GET", f"/{UNKNOWN}/versions", None, 404, f"block {UNKNOWN} not found"),
        ("GET", f"/{UNKNOWN}/agents", None, 404, f"block {UNKNOWN} not found"),
        ("PATCH", f"/{UNKNOWN}/identities/attach/{NOBODY}", None, 404, f"identity {NOBODY} not found"),
        ("GET", f"?after={UNKNOWN}", None, 404, f"cursor '{UNKNOWN}' not found"),
        ("GET", "?limit=0", None, 422, "limit: Input should be greater than or equal to 1"),
        ("GET", "?order=sideways", None, 422, "order: Input should be 'asc' or 'desc'"),
        ("GET", f"?connected_to_agents_count_gt={10**30}", None, 422, "connected_to_agents_count_gt: Input should be"),
    ],
)
async def test_a_bad_request_is_told_what_is_wrong(
    served: Served, verb: str, path: str, body: dict[str, Any] | None, status: int, detail: str
) -> None:
    answer = await served.http.request(verb, f"/v1/blocks{path}", json=body)
    assert (answer.status_code, detail in answer.json()["detail"]) == (status, True), answer.text


async def test_a_walk_with_nowhere_to_go_is_a_conflict_that_need_not_be_repeated(served: Served) -> None:
    block = await made(served)
    for verb in ("undo", "redo"):
        answer = await served.http.post(f"/v1/blocks/{block['id']}/{verb}")
        assert (answer.status_code, answer.headers["x-should-retry"]) == (409, "false")
        assert f"nothing to {verb}" in answer.json()["detail"]
    answer = await served.http.post(f"/v1/blocks/{block['id']}/revert", json={"version": 9})
    assert (answer.status_code, answer.json()) == (404, {"detail": f"block {block['id']} has no version 9"})


async def test_a_value_that_does_not_fit_leaves_the_block_as_it_was(served: Served) -> None:
    block = await made(served, limit=10)
    answer = await served.http.patch(f"/v1/blocks/{block['id']}", json={"value": "x" * 11, "description": "new"})
    assert answer.status_code == 422
    assert (await served.http.get(f"/v1/blocks/{block['id']}")).json() == block


@pytest.mark.parametrize("label", ["a/b ue", "system/human", "../../etc", "ü/?#%", "attach"])
async def test_a_label_with_slashes_is_reached_by_its_path(served: Served, label: str) -> None:
    agent = await served.agent(memory_blocks=[{"label": label, "value": "old"}])
    path = f"/v1/agents/{agent['id']}/core-memory/blocks/{quote(label, safe='')}"
    assert (await served.http.get(path)).json()["label"] == label
    changed = await served.http.patch(path, json={"value": "new"})
    assert (changed.status_code, changed.json()["value"]) == (200, "new")
    assert (await served.http.get(path)).json()["value"] == "new"
    [block] = agent["blocks"]
    blocks = f"/v1/agents/{agent['id']}/core-memory/blocks"
    assert (await served.http.patch(f"{blocks}/detach/{block['id']}")).json()["blocks"] == []
    assert (await served.http.patch(f"{blocks}/attach/{block['id']}")).json()["blocks"][0]["label"] == label


@pytest.mark.parametrize("label", ["", "/", "/a", "a/"])
async def test_a_label_no_path_can_name_is_refused(served: Served, label: str) -> None:
    agent = await served.agent(memory_blocks=[{"label": "human", "value": ""}])
    block_id = agent["blocks"][0]["id"]
    said = f"label: {label!r} is no label of a block: it must not be empty, nor begin or end with a slash"
    body = {"label": label, "value": ""}
    made = await served.http.post("/v1/blocks/", json=body)
    with_agent = await served.http.post("/v1/agents/", json={"model": "letta/scripted", "memory_blocks": [body]})
    renamed = await served.http.patch(f"/v1/blocks/{block_id}", json={"label": label})
    assert [answer.status_code for answer in (made, with_agent, renamed)] == [422, 422, 422]
    assert made.json()["detail"] == renamed.json()["detail"] == said
    assert with_agent.json()["detail"] == f"memory_blocks.0.{said}"
