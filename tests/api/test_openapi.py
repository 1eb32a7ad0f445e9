"""The API description: complete, readable, and changed only on purpose.

`UPDATE_OPENAPI=1 make test ARGS=tests/api/test_openapi.py` writes the snapshot anew.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError
from tests.serving import Served

from letta.api.unbuilt import missing_routes
from letta.schemas.wire_messages import Frame, LettaResponse, Message

SNAPSHOT = Path(__file__).with_name("openapi.json")
_WIDTH = 120
METHODS = {"get", "post", "put", "patch", "delete"}


def written(value: Any, depth: int = 0) -> str:
    """JSON with one line for what fits on one: a fifth of the lines of the usual form, and diffs stay small."""
    flat = json.dumps(value, ensure_ascii=False, sort_keys=True)
    if len(flat) + depth <= _WIDTH or not isinstance(value, dict | list):
        return flat
    indent = " " * (depth + 1)
    if isinstance(value, list):
        lines = [written(item, depth + 1) for item in value]
    else:
        lines = [f"{json.dumps(key)}: {written(item, depth + 1)}" for key, item in sorted(value.items())]
    opening, closing = "[]" if isinstance(value, list) else "{}"
    return opening + "\n" + ",\n".join(f"{indent}{line}" for line in lines) + "\n" + " " * depth + closing


@pytest.fixture
async def document(served: Served) -> dict[str, Any]:
    answer = await served.http.get("/openapi.json")
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (method, path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if method in METHODS
    ]


async def test_description_is_the_snapshot(document: dict[str, Any]) -> None:
    document["info"].pop("version")
    text = written(document) + "\n"
    if os.environ.get("UPDATE_OPENAPI"):
        SNAPSHOT.write_text(text)
    assert text == SNAPSHOT.read_text(), "the API changed: if that is meant, see the top of this file"


async def test_operation_ids_are_unique_and_readable(document: dict[str, Any]) -> None:
    ids = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(ids) == len(set(ids))
    assert [name for name in ids if not name.isidentifier() or "v1" in name] == []


async def test_every_reference_leads_to_a_component(document: dict[str, Any]) -> None:
    def references(value: Any) -> list[str]:
        if isinstance(value, list):
            return [found for item in value for found in references(item)]
        if not isinstance(value, dict):
            return []
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [found for item in value.values() for found in references(item)]

    components = document["components"]
    missing = {
        reference
        for reference in references(document)
        if reference.split("/")[3] not in components[reference.split("/")[2]]
    }
    assert missing == set()


async def test_every_operation_with_a_path_id_documents_what_it_refuses(document: dict[str, Any]) -> None:
    bare = [
        f"{method} {path}"
        for method, path, operation in operations(document)
        if "{" in path and not {"404", "422"} <= operation["responses"].keys()
    ]
    assert bare == []


async def test_no_unbuilt_route_is_described(document: dict[str, Any]) -> None:
    def shape(path: str) -> str:
        return "/".join("{}" if step.startswith("{") else step for step in path.split("/"))

    described = {(method.upper(), shape(path)) for method, path, _ in operations(document)}
    assert described & {(method, shape(path)) for method, path, _ in missing_routes()} == set()
    assert len(described) == len(operations(document)) > 0


async def test_messages_are_described_as_they_are_sent(served: Served) -> None:
    """The models are documentation, the dictionaries are what is sent: they must be the same, keys included."""
    agent = await served.agent(agent_type="letta_v1_agent", memory_blocks=[{"label": "human", "value": ""}])
    answer = await served.send(agent["id"], "think about this: my name is Ada")
    assert LettaResponse.model_validate(answer).model_dump(mode="json").keys() == answer.keys()
    listed = (await served.http.get(f"/v1/agents/{agent['id']}/messages")).json()
    streamed = await served.http.post(
        f"/v1/agents/{agent['id']}/messages",
        json={"input": "call memory_insert with {}", "streaming": True, "stream_tokens": True},
    )
    frames = [
        json.loads(line.removeprefix("data: ")) for line in streamed.text.splitlines() if line.startswith("data: {")
    ]
    forms: list[tuple[Any, Any]] = [(item, Message) for item in [*answer["messages"], *listed]]
    for one, form in [*forms, *((item, Frame) for item in frames)]:
        shown = TypeAdapter[Any](form).validate_python(one).model_dump(mode="json")
        assert shown.keys() == one.keys(), one["message_type"]
    with pytest.raises(ValidationError):
        TypeAdapter[Any](Frame).validate_python({"message_type": "reply", "content": "hi"})


async def test_docs_page_shows_the_description(served: Served) -> None:
    page = await served.http.get("/docs")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert "/openapi.json" in page.text
