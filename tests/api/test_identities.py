"""`/v1/identities`."""

from typing import Any

import pytest
from tests.serving import Served

UNKNOWN = "identity-00000000-0000-4000-8000-000000000000"
EMAIL = {"key": "email", "value": "ada@example.test", "type": "string"}
AGE = {"key": "age", "value": 36, "type": "number"}
FORM = {"identifier_key": "user-7", "name": "Ada", "identity_type": "user"}


async def made(served: Served, **fields: Any) -> dict[str, Any]:
    answer = await served.http.post("/v1/identities/", json={**FORM, **fields})
    assert answer.status_code == 200, answer.text
    identity: dict[str, Any] = answer.json()
    return identity


async def test_an_identity_is_created_read_changed_and_deleted(served: Served) -> None:
    agent = await served.agent()
    block = (await served.http.post("/v1/blocks/", json={"label": "x", "value": ""})).json()
    identity = await made(
        served, agent_ids=[agent["id"]], block_ids=[block["id"]], properties=[EMAIL, AGE], project_id="p"
    )
    assert identity == {
        "id": identity["id"], **FORM, "project_id": "p", "agent_ids": [agent["id"]], "block_ids": [block["id"]],
        "properties": [EMAIL, AGE],
    }  # fmt: skip
    path = f"/v1/identities/{identity['id']}"
    assert (await served.http.get(path)).json() == identity
    older = {**AGE, "value": 37}
    changed = (await served.http.patch(path, json={"name": "Ada L.", "properties": [older]})).json()
    assert changed == {**identity, "name": "Ada L.", "properties": [EMAIL, older]}
    deleted = await served.http.delete(path)
    assert (deleted.status_code, deleted.json()) == (200, None)
    assert (await served.http.get(path)).status_code == 404
    assert (await served.http.get(f"/v1/agents/{agent['id']}")).json()["identity_ids"] == []


async def test_putting_a_key_twice_makes_one_identity_in_the_later_form(served: Served) -> None:
    first = (await served.http.put("/v1/identities/", json={**FORM, "properties": [EMAIL, AGE]})).json()
    second = (await served.http.put("/v1/identities/", json={**FORM, "name": "Eva", "properties": [AGE]})).json()
    assert second == {**first, "name": "Eva", "properties": [AGE]}
    assert (await served.http.get("/v1/identities/count")).json() == 1


async def test_put_properties_replace_those_there_were(served: Served) -> None:
    identity = await made(served, properties=[EMAIL])
    answer = await served.http.put(f"/v1/identities/{identity['id']}/properties", json=[AGE])
    assert answer.json() == {**identity, "properties": [AGE]}


async def test_identities_are_listed_newest_first_in_pages_and_by_filters(served: Served) -> None:
    identities = [await made(served, identifier_key=f"user-{number}", name=f"Name {number}") for number in range(4)]
    newest_first = identities[::-1]
    assert (await served.http.get("/v1/identities/")).json() == newest_first
    cases: list[tuple[dict[str, Any], list[dict[str, Any]]]] = [
        ({"limit": 2}, newest_first[:2]),
        ({"limit": 2, "after": newest_first[1]["id"]}, newest_first[2:]),
        ({"limit": 2, "before": newest_first[3]["id"]}, newest_first[1:3]),
        ({"order": "asc", "limit": 1}, identities[:1]),
        ({"name": "Name 2"}, [identities[2]]),
        ({"identifier_key": "user-3"}, [identities[3]]),
        ({"identity_type": "org"}, []),
        ({"project_id": "none"}, []),
    ]
    for params, expected in cases:
        assert (await served.http.get("/v1/identities/", params=params)).json() == expected, params


async def test_an_agent_made_for_an_identity_is_listed_with_it(served: Served) -> None:
    identity = await made(served)
    agent = await served.agent(name="Mine", identity_ids=[identity["id"]])
    await served.agent(name="Other")
    found = (await served.http.get(f"/v1/identities/{identity['id']}/agents", params={"include": "agent.tags"})).json()
    assert [(one["id"], one["blocks"]) for one in found] == [(agent["id"], [])]
    by_key = (await served.http.get("/v1/agents/", params={"identifier_keys": ["user-7"]})).json()
    assert [one["id"] for one in by_key] == [agent["id"]]


async def test_an_agent_is_attached_and_detached_by_its_own_route(served: Served) -> None:
    identity, agent = await made(served), await served.agent()
    path = f"/v1/agents/{agent['id']}/identities"
    for _ in range(2):
        assert (await served.http.patch(f"{path}/attach/{identity['id']}")).status_code == 200
    assert (await served.http.get(f"/v1/identities/{identity['id']}")).json()["agent_ids"] == [agent["id"]]
    assert (await served.http.patch(f"{path}/detach/{identity['id']}")).status_code == 200
    assert (await served.http.get(f"/v1/identities/{identity['id']}")).json() == identity


async def test_the_blocks_of_an_identity_are_listed_in_pages(served: Served) -> None:
    blocks = [
        (await served.http.post("/v1/blocks/", json={"label": str(number), "value": ""})).json() for number in range(3)
    ]
    identity = await made(served, block_ids=[block["id"] for block in blocks])
    path = f"/v1/identities/{identity['id']}/blocks"
    assert (await served.http.get(path, params={"limit": 2})).json() == blocks[:0:-1]
    assert (await served.http.get(path, params={"after": blocks[1]["id"]})).json() == blocks[:1]


@pytest.mark.parametrize(
    ("verb", "path", "body", "status", "detail"),
    [
        ("POST", "", {"name": "Ada"}, 422, "identifier_key: Field required; identity_type: Field required"),
        (
            "POST",
            "",
            {**FORM, "identity_type": "robot"},
            422,
            "identity_type: Input should be 'org', 'user' or 'other'",
        ),
        ("POST", "", {**FORM, "properties": [{**AGE, "value": "old"}]}, 422, "value of property 'age' is not a number"),
        ("POST", "", {**FORM, "agent_ids": ["agent-0"]}, 404, "agent agent-0 not found"),
        ("POST", "", {**FORM, "block_ids": ["block-0"]}, 404, "block block-0 not found"),
        ("PUT", f"/{UNKNOWN}/properties", [AGE], 404, f"identity {UNKNOWN} not found"),
        ("PUT", f"/{UNKNOWN}/properties", [{**AGE, "value": 10**30}], 422, "does not fit in 64 bits"),
        ("PUT", f"/{UNKNOWN}/properties", {"age": 1}, 422, "Input should be a valid list"),
        ("GET", f"/{UNKNOWN}", None, 404, f"identity {UNKNOWN} not found"),
        ("GET", f"/{UNKNOWN}/agents", None, 404, f"identity {UNKNOWN} not found"),
        ("GET", f"/{UNKNOWN}/blocks", None, 404, f"identity {UNKNOWN} not found"),
        ("PATCH", f"/{UNKNOWN}", {"name": "x"}, 404, f"identity {UNKNOWN} not found"),
        ("DELETE", f"/{UNKNOWN}", None, 404, f"identity {UNKNOWN} not found"),
        ("GET", "/identity-1", None, 422, "identity_id: String should match pattern"),
        ("GET", f"?before={UNKNOWN}", None, 404, f"cursor '{UNKNOWN}' not found"),
    ],
)
async def test_a_bad_request_is_told_what_is_wrong(
    served: Served, verb: str, path: str, body: Any, status: int, detail: str
) -> None:
    answer = await served.http.request(verb, f"/v1/identities{path}", json=body)
    assert (answer.status_code, detail in answer.json()["detail"]) == (status, True), answer.text
    assert (await served.http.get("/v1/identities/count")).json() == 0


async def test_a_key_that_is_taken_is_a_conflict(served: Served) -> None:
    await made(served)
    other = await made(served, identifier_key="user-8")
    create = await served.http.post("/v1/identities/", json=FORM)
    change = await served.http.patch(f"/v1/identities/{other['id']}", json={"identifier_key": "user-7"})
    for answer in (create, change):
        assert (answer.status_code, answer.headers["x-should-retry"]) == (409, "false")
        assert "identifier_key: there is an identity with the key 'user-7'" in answer.json()["detail"]
