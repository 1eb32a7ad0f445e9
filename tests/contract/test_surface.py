"""Every call the official SDKs can make, and whether this server serves it: the table of docs/compatibility.md.

`surface.json` lists the calls: `[tier, method of the SDK, HTTP method, path]`. Each is made once, with ids of things
that exist and a body of the right form; 405, 501 and the 404 of a path nobody knows mean "not served". After a change,
`UPDATE_COMPATIBILITY=1 make test ARGS=tests/contract/test_surface.py` writes the table anew.
"""

import json
import os
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

from tests.serving import Served

from letta.api.unbuilt import missing_routes

SURFACE = Path(__file__).with_name("surface.json")
PAGE = Path(__file__).parents[2] / "docs" / "compatibility.md"
TIERS = {
    "must": "Served by the V1 server itself",
    "should": "Cloud only in V1, useful on one's own server",
    "optional": "Cloud only in V1",
    "compat-a": "Only in SDKs 1.0 to 1.6",
    "compat-b": "Only in SDK 0.1.x",
}
SOURCE = 'def roll():\n    """Roll a die.\n    """\n    return 4\n'
MESSAGE: dict[str, Any] = {"messages": [{"role": "user", "content": "hello"}]}
AGENT: dict[str, Any] = {"model": "letta/scripted"}
NOT_BUILT = 501
YES = "yes"
SAID = {405: "refused on purpose", NOT_BUILT: "not yet"}
# Nobody listens there.
PROVIDER = {"provider_type": "openai", "base_url": "http://127.0.0.1:9/v1"}
BODIES: dict[str, Any] = {
    "agents.create": AGENT,
    "agents.messages.create": MESSAGE,
    "agents.messages.create_async": MESSAGE,
    "agents.messages.stream": MESSAGE,
    "agents.schedule.create": {"messages": MESSAGE["messages"], "schedule": {"type": "one-time", "scheduled_at": 1}},
    "agents.passages.create": {"text": "a fact"},
    "agents.tools.run": {"args": {}},
    "agents.tools.update_approval": {"requires_approval": True},
    "archives.create": {"name": "archive"},
    "archives.passages.create": {"text": "a fact"},
    "archives.passages.create_many": {"passages": [{"text": "a fact"}]},
    "batches.create": {"requests": []},
    "blocks.create": {"label": "human", "value": ""},
    "conversations.messages.create": {**MESSAGE, "streaming": True},
    "folders.create": {"name": "folder"},
    "groups.create": {"agent_ids": [], "description": "group"},
    "identities.create": {"identifier_key": "one", "name": "Ada", "identity_type": "user"},
    "identities.properties.upsert": [{"key": "k", "value": "v", "type": "string"}],
    "identities.upsert": {"identifier_key": "two", "name": "Ada", "identity_type": "user"},
    "messages.search": {"query": "hello"},
    "agents.messages.search": {"query": "hello"},
    "passages.search": {"query": "hello"},
    "providers.check": {**PROVIDER, "api_key": "key"},
    "providers.create": {"name": "another", **PROVIDER, "api_key": "key"},
    "sources.create": {"name": "source"},
    "tools.create": {"source_code": SOURCE},
    "tools.run_tool_from_source": {"source_code": SOURCE, "args": {}},
    "tools.upsert": {"source_code": SOURCE},
}
# What a call needs in the query.
QUERIES = {"conversations.create": "agent_id={agent_id}", "agents.passages.search": "query=hello"}
# Calls that take something away get things of their own.
DESTRUCTIVE = ("delete", "detach", "cancel", "close")


def surface() -> list[tuple[str, str, str, str]]:
    """The calls by tier."""
    return [(tier, name, method, path) for tier, name, method, path in json.loads(SURFACE.read_text())]


async def things(served: Served) -> dict[str, str]:
    """Ids for the names in paths, one of each thing that can be made; the others are made up when they are needed."""

    async def made(path: str, key: str = "id", **body: Any) -> str | None:
        answer = await served.http.post(path, json=body)
        found = answer.json()
        if answer.status_code == NOT_BUILT:
            return None
        assert answer.status_code == 200, f"{path}: {answer.text}"
        return str((found[0] if isinstance(found, list) else found)[key])

    mark = uuid4()
    block = await made("/v1/blocks/", label="extra", value="")
    identity = await made("/v1/identities/", identifier_key=f"key-{mark}", name="Ada", identity_type="user")
    agent = await served.agent(
        memory_blocks=[{"label": "human", "value": ""}], block_ids=[block], identity_ids=[identity]
    )
    path = f"/v1/agents/{agent['id']}"
    answer = await served.send(agent["id"], "hello")
    run, said = answer["usage"]["run_ids"][0], answer["messages"][0]
    archive = await made("/v1/archives/", name=f"archive {mark}")
    if archive:
        await served.http.patch(f"{path}/archives/attach/{archive}")
    folder = await made("/v1/folders/", name=f"folder {mark}")
    files: dict[str, str | None] = {}
    if folder:
        await served.http.patch(f"{path}/folders/attach/{folder}")
        upload = {"file": (f"{mark}.txt", b"a fact", "text/plain")}
        files["file_id"] = (await served.http.post(f"/v1/folders/{folder}/upload", files=upload)).json()["id"]
    known = {
        **files,
        "agent_id": agent["id"],
        "archive_id": archive,
        "block_id": block,
        "block_label": "human",
        "conversation_id": await made(f"/v1/conversations/?agent_id={agent['id']}"),
        "folder_id": folder,
        "folder_name": f"folder {mark}",
        "group_id": await made("/v1/groups/", agent_ids=[agent["id"]], description="a group"),
        "identity_id": identity,
        "job_id": run,
        "mcp_server_id": await made("/v1/mcp-servers/", **mcp_server(f"mcp-{mark}")),
        "mcp_server_name": f"mcp-{mark}",
        "memory_id": await made(f"{path}/archival-memory", text="a fact"),
        "message_id": said["id"],
        "passage_id": await made(f"/v1/archives/{archive}/passages", text="a fact") if archive else None,
        "provider_id": await made("/v1/providers/", name=f"mine-{mark}", **PROVIDER, api_key="key"),
        "run_id": run,
        "source_id": folder,
        "source_name": f"folder {mark}",
        "step_id": said["step_id"],
        "template_name": await made(
            "/v1/templates", "name", type="agent", agent_id=agent["id"], name=f"template-{mark}"
        ),
        "tool_id": agent["tools"][0]["id"],
        "tool_name": agent["tools"][0]["name"],
    }
    return {name: found for name, found in known.items() if found is not None}


def mcp_server(name: str) -> dict[str, Any]:
    """A server nobody runs."""
    config = {"mcp_server_type": "streamable_http", "server_url": "http://127.0.0.1:9/mcp"}
    return {"server_name": name, "config": config}


def filled(path: str, ids: Mapping[str, str]) -> str:
    return re.sub(r"\{(\w+)\}", lambda name: ids.get(name[1], f"{name[1].removesuffix('_id')}-{uuid4()}"), path)


async def answers(served: Served) -> dict[str, str]:
    """What the page says of each call, by the SDK's name of it."""
    shared = await things(served)
    seen: dict[str, str] = {}
    for _, name, method, path in surface():
        ids = await things(served) if name.rsplit(".")[-1].startswith(DESTRUCTIVE) else shared
        query = filled(QUERIES.get(name, ""), ids)
        url = filled(path, ids) + (f"?{query}" if query else "")
        body = None if method == "GET" else mcp_server("new") if name == "mcp_servers.create" else BODIES.get(name, {})
        answer = await served.http.request(method, url, json=body)
        assert answer.status_code != 500, f"{method} {url}"
        known = answer.status_code != 404 or answer.json() != {"detail": "Not Found"}
        seen[name] = SAID.get(answer.status_code, YES) if known else "no"
    return seen


def page(seen: Mapping[str, str]) -> str:
    """docs/compatibility.md."""
    rows = surface()
    served = Counter(tier for tier, name, _, _ in rows if seen[name] == YES)
    newest = [row for row in rows if not row[0].startswith("compat")]
    count = sum(seen[name] == YES for _, name, _, _ in newest)
    lines = [
        "# Compatibility",
        "",
        f"**{count} of the {len(newest)} calls** of the official SDKs (Python and TypeScript 1.12.1) are served.",
        "A call that is not served answers 501 and says what is missing; a path of no API answers 404.",
        "",
        "This page is made by `tests/contract/test_surface.py`, which makes every call and fails when the page is not",
        "true any more.",
        "",
        "| calls | served | of |",
        "| --- | ---: | ---: |",
        *(f"| {text} | {served[tier]} | {sum(row[0] == tier for row in rows)} |" for tier, text in TIERS.items()),
    ]
    for tier, text in TIERS.items():
        lines += ["", f"## {text}", "", "| call | request | served |", "| --- | --- | --- |"]
        lines += [f"| `{n}` | `{verb} {path}` | {seen[n]} |" for t, n, verb, path in rows if t == tier]
    return "\n".join(lines) + "\n"


async def test_page_says_which_calls_are_served(served: Served) -> None:
    seen = await answers(served)
    assert [name for name, said in seen.items() if said == "no"] == []
    text = page(seen)
    if os.environ.get("UPDATE_COMPATIBILITY"):
        PAGE.write_text(text)
    assert text == PAGE.read_text(), "what is served changed: see the top of this file"


async def test_every_unbuilt_route_says_what_is_missing(served: Served) -> None:
    for method, path, what in missing_routes():
        answer = await served.http.request(method, filled(path, {}))
        assert answer.status_code == 501, f"{method} {path} is served: take its row out of letta.api.unbuilt"
        assert answer.json() == {"detail": f"{what[0].upper()}{what[1:]} is not built yet"}
        assert answer.headers["x-should-retry"] == "false"


async def test_paths_of_no_api_are_not_found(served: Served) -> None:
    agent = await served.agent()
    for path in (
        "/v1/nothing",
        f"/v1/agents/{agent['id']}/secrets",
        f"/v1/agents/{agent['id']}/repositories",
        "/v2/agents",
    ):
        answer = await served.http.get(path)
        assert (answer.status_code, answer.json()) == (404, {"detail": "Not Found"})


def test_surface_is_whole() -> None:
    assert Counter(tier for tier, _, _, _ in surface()) == {
        "must": 113,
        "should": 10,
        "optional": 6,
        "compat-a": 24,
        "compat-b": 55,
    }
    assert len({(method, path) for _, _, method, path in surface()}) == len(surface())
