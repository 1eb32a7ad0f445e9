"""Requests made up from the API description, right and wrong ones: never a 500, always JSON that fits the description.

The examples are the same in every run. Half of them carry ids of things that exist, half of them made-up ids.
"""

import json
import re
import warnings
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import jsonschema_rs
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tests.contract.test_surface import things
from tests.serving import Served, serve

with warnings.catch_warnings():
    # What schemathesis imports warns about itself, and the suite turns warnings into errors.
    warnings.simplefilter("ignore")
    import schemathesis
    from schemathesis import Case, GenerationMode
    from schemathesis.core import NotSet

EXAMPLES = 8
SNAPSHOT: dict[str, Any] = json.loads(Path(__file__).with_name("openapi.json").read_text())
SNAPSHOT["info"]["version"] = "any"
SCHEMA = schemathesis.openapi.from_dict(SNAPSHOT)
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


def _leads_outside(method: str, path: str) -> bool:
    """If a made-up request would reach for a made-up address, program, package or model. Other tests have real ones."""
    return (
        "mcp" in path
        or "composio" in path
        or path in ("/v1/tools/run", "/v1/tools/generate-tool")
        or (path.startswith("/v1/providers") and method != "GET")
    )


OPERATIONS = sorted(
    (
        (method, path)
        for path, described in SNAPSHOT["paths"].items()
        for method in METHODS
        if method.lower() in described and not _leads_outside(method, path)
    ),
    # What deletes comes last, so that the others still have something to work on.
    key=lambda operation: operation[0] == "DELETE",
)


@dataclass(frozen=True)
class Target:
    """The server under test, and ids of things on it."""

    portal: BlockingPortal
    served: Served
    ids: dict[str, str]

    def send(self, method: str, path: str, **request: Any) -> httpx2.Response:
        async def ask() -> httpx2.Response:
            return await self.served.http.request(method, path, **request)

        return self.portal.call(ask)


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with ExitStack() as stack:
        portal = stack.enter_context(start_blocking_portal())
        serving = serve(tmp_path_factory.mktemp("fuzz"), max_steps=2)
        served = stack.enter_context(portal.wrap_async_context_manager(serving))
        yield Target(portal, served, portal.call(things, served))


def cases(method: str, path: str, ids: dict[str, str]) -> st.SearchStrategy[Case[Any]]:
    """Right and wrong requests of an operation, with real ids and made-up ones."""
    operation = SCHEMA[path][method]
    wanted = re.findall(r"\{(\w+)\}", path)
    known = {name: ids[name] for name in wanted if name in ids}
    modes = [GenerationMode.POSITIVE, GenerationMode.NEGATIVE]
    if not wanted and not operation.query and not operation.body:
        modes.pop()
    forms = [operation.as_strategy(mode) for mode in modes]
    if known:
        forms += [operation.as_strategy(mode, path_parameters=known) for mode in modes[:1]] * 2
    return st.one_of(forms)


def request(case: Case[Any]) -> dict[str, Any]:
    """The parts of a request besides method and path."""
    query = [
        (name, item if isinstance(item, str) else json.dumps(item))
        for name, value in (case.query or {}).items()
        for item in (value if isinstance(value, list) else [value])
    ]
    if isinstance(case.body, NotSet):
        return {"params": query}
    body = case.body if isinstance(case.body, bytes) else json.dumps(case.body)
    return {"params": query, "content": body, "headers": {"content-type": "application/json"}}


def fits(answer: httpx2.Response, method: str, path: str) -> None:
    """Fails if the answer is not what the description says."""
    assert answer.status_code < 500 or answer.status_code == 501, answer.text
    described = SNAPSHOT["paths"][path][method.lower()]["responses"]
    assert str(answer.status_code) in described, f"{answer.status_code} is not described: {answer.text}"
    if answer.status_code == 204:
        assert answer.content == b""
        return
    kind = answer.headers["content-type"].partition(";")[0]
    if kind == "text/event-stream":
        assert answer.text.endswith("data: [DONE]\n\n")
        return
    if kind == "text/plain":
        assert list(described[str(answer.status_code)]["content"]) == ["text/plain"]
        return
    assert kind == "application/json"
    form = described[str(answer.status_code)]
    if "$ref" in form:
        form = SNAPSHOT["components"]["responses"][form["$ref"].rpartition("/")[2]]
    schema = {**form["content"]["application/json"]["schema"], "components": SNAPSHOT["components"]}
    jsonschema_rs.validate(schema, answer.json())


@pytest.mark.parametrize(("method", "path"), OPERATIONS, ids=[" ".join(operation) for operation in OPERATIONS])
def test_made_up_requests_are_answered_as_described(target: Target, method: str, path: str) -> None:
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases(method, path, target.ids))
    def check(case: Case[Any]) -> None:
        fits(target.send(method, case.formatted_path, **request(case)), method, path)

    check()


@pytest.mark.parametrize("path", [path for method, path in OPERATIONS if method == "PATCH"])
def test_null_for_any_field_of_a_change_clears_it_or_is_refused(target: Target, path: str) -> None:
    body = SNAPSHOT["paths"][path]["patch"].get("requestBody", {}).get("content", {}).get("application/json", {})
    name = body.get("schema", {}).get("$ref", "").rpartition("/")[2]
    url = re.sub(r"\{(\w+)\}", lambda found: target.ids.get(found[1], "none"), path)
    for field in SNAPSHOT["components"]["schemas"].get(name, {}).get("properties", {}):
        answer = target.send("PATCH", url, json={field: None})
        assert answer.status_code < 500 or answer.status_code == 501, f"{field}: {answer.text}"
