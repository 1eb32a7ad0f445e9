"""Every call the official SDKs can make, and whether this server serves it: the table of docs/compatibility.md.

`surface.json` lists the calls: `[tier, method of the SDK, HTTP method, path]`. Each is made once, with ids of things
that exist and a body of the right form; an answer of 404, 405 or 501 means "not served". After a change,
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

from letta.api.unbuilt import routes

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
    "mcp_servers.create": {
        "server_name": "mcp",
        "config": {"mcp_server_type": "streamable_http", "server_url": "http://127.0.0.1:1/mcp"},
    },
    "messages.search": {"query": "hello"},
    "agents.messages.search": {"query": "hello"},
    "passages.search": {"query": "hello"},
    "providers.check": {"provider_type": "letta", "api_key": "key"},
    "providers.create": {"name": "another", "provider_type": "openai", "api_key": "key"},
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
    """Ids for the names in paths; those of what cannot be made yet have the right form and mean nothing."""

    async def made(path: str, **body: Any) -> str:
        return str((await served.http.post(path, json=body)).json()["id"])

    block = await made("/v1/blocks/", label="extra", value="")
    identity = await made("/v1/identities/", identifier_key=f"key-{uuid4()}", name="Ada", identity_type="user")
    agent = await served.agent(
        memory_blocks=[{"label": "human", "value": ""}], block_ids=[block], identity_ids=[identity]
    )
    answer = await served.send(agent["id"], "hello")
    run, said = answer["usage"]["run_ids"][0], answer["messages"][0]
    return {
        "agent_id": agent["id"],
        "block_id": block,
        "block_label": "human",
        "conversation_id": "default",
        "identity_id": identity,
        "job_id": run,
        "message_id": said["id"],
        "provider_id": await made("/v1/providers/", name=f"mine-{uuid4()}", provider_type="openai", api_key="key"),
        "run_id": run,
        "step_id": said["step_id"],
        "tool_id": agent["tools"][0]["id"],
        "tool_name": agent["tools"][0]["name"],
    }


def filled(path: str, ids: Mapping[str, str]) -> str:
    return re.sub(r"\{(\w+)\}", lambda name: ids.get(name[1], f"{name[1].removesuffix('_id')}-{uuid4()}"), path)


async def answers(served: Served) -> dict[str, int]:
    """The status of each call, by the SDK's name of it."""
    shared = await things(served)
    seen: dict[str, int] = {}
    for _, name, method, path in surface():
        ids = await things(served) if name.rsplit(".")[-1].startswith(DESTRUCTIVE) else shared
        query = filled(QUERIES.get(name, ""), ids)
        url = filled(path, ids) + (f"?{query}" if query else "")
        body = None if method == "GET" else BODIES.get(name, {})
        seen[name] = (await served.http.request(method, url, json=body)).status_code
    return seen


def page(seen: Mapping[str, int]) -> str:
    """docs/compatibility.md."""
    rows = surface()
    served = Counter(tier for tier, name, _, _ in rows if is_served(seen[name]))
    newest = [row for row in rows if not row[0].startswith("compat")]
    count = sum(is_served(seen[name]) for _, name, _, _ in newest)
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
        lines += [f"| `{n}` | `{verb} {path}` | {_said(seen[n])} |" for t, n, verb, path in rows if t == tier]
    return "\n".join(lines) + "\n"


def is_served(status: int) -> bool:
    return status not in (404, 405, 501)


def _said(status: int) -> str:
    return {405: "refused on purpose", 404: "no", 501: "not yet"}.get(status, "yes")


async def test_page_says_which_calls_are_served(served: Served) -> None:
    text = page(await answers(served))
    if os.environ.get("UPDATE_COMPATIBILITY"):
        PAGE.write_text(text)
    assert text == PAGE.read_text(), "what is served changed: see the top of this file"


async def test_no_call_is_unknown_or_breaks_the_server(served: Served) -> None:
    seen = await answers(served)
    assert {name: status for name, status in seen.items() if status in (404, 500)} == {}


async def test_every_unbuilt_route_says_what_is_missing(served: Served) -> None:
    for method, path, what in routes():
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
