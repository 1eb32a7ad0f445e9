"""TypeScript tools: schemas from their text, and calls with the Node of this machine."""

import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.tools.sandboxes import KINDS, tools_in

from letta.errors import InvalidRequest
from letta.schemas.tools import NpmRequirement, Tool
from letta.tools.custom import CustomTools, ToolEnvironment
from letta.tools.typescript import derive, parameter_names

SOURCE = """
interface Item { name: string; amount?: number[]; /* how */ kind: 'a' | 'b' }
type Mode = "fast" | "slow";

/**
 * Order something.
 *
 * @param items - What to order
 * @param mode How fast,
 *   roughly
 * @returns the price
 */
export async function order(
  items: Item[], mode: Mode = "fast", note?: string, extra: Record<string, number> | null,
): Promise<number> {
  return items.length;
}
"""


def test_the_schema_follows_from_signature_and_comment() -> None:
    item = {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "amount": {"type": "array", "items": {"type": "number"}},
            "kind": {"type": "string", "enum": ["a", "b"]},
        },
        "required": ["name", "kind"],
    }
    assert derive(SOURCE).schema == {
        "name": "order",
        "description": "Order something.",
        "parameters": {
            "type": "object",
            "properties": {
                "items": {"type": "array", "items": item, "description": "What to order"},
                "mode": {"type": "string", "enum": ["fast", "slow"], "description": "How fast, roughly"},
                "note": {"type": "string"},
                "extra": {"type": "object", "additionalProperties": {"type": "number"}},
            },
            "required": ["items"],
        },
    }
    assert parameter_names(SOURCE, "order") == ["items", "mode", "note", "extra"]


TEXT = {"type": "string"}
NESTED = {
    "type": "object",
    "properties": {
        "a": {"type": "object", "properties": {"b": TEXT}, "required": ["b"]},
        "c": {"type": "string", "format": "date-time"},
    },
    "required": ["a"],
}


@pytest.mark.parametrize(
    ("parameter", "schema", "required"),
    [
        ("x: number", {"type": "number"}, True),
        ("x: boolean = true", {"type": "boolean", "default": True}, False),
        ("x = 5", {"type": "number"}, False),
        ("x: Array<Array<string>>", {"type": "array", "items": {"type": "array", "items": {"type": "string"}}}, True),
        ("x: (string | number)[]", {"type": "array", "items": {"anyOf": [TEXT, {"type": "number"}]}}, True),
        ("x: { a: { b: string }, c?: Date }", NESTED, True),
        ("x: 1 | 2", {"type": "number", "enum": [1, 2]}, True),
        ("x: string | undefined", {"type": "string"}, False),
        ("x: Unheard<Of>", {}, True),
        ("x", {}, True),
        ("x: (a: number) => void", {}, True),
    ],
)  # fmt: skip
def test_a_type_becomes_its_schema(parameter: str, schema: dict[str, Any], required: bool) -> None:
    derived = derive(f"export const f = async ({parameter}) => 1;")
    assert derived.parameters == {"type": "object", "properties": {"x": schema}, "required": ["x"] if required else []}


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("function f() {}", "it exports no function"),
        ("export function f({a}: X) {}", "line 1: '{a}: X' is not a parameter with a name"),
        ("\nexport function f(a", "line 2: the parameters have no end"),
    ],
)
def test_source_that_is_no_tool_is_refused(source: str, message: str) -> None:
    with pytest.raises(InvalidRequest, match="source_code: ") as refused:
        derive(source)
    assert message in refused.value.message


# -- calls -------------------------------------------------------------------------------------------------------------

needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not installed")


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module", params=KINDS)
async def tools(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[CustomTools]:
    # The installers need this machine's own way to the registry; they see nothing else of it.
    async with tools_in(tmp_path_factory.getbasetemp() / "node-tools", request.param, os.environ) as custom:
        yield custom


async def call(
    custom: CustomTools, source: str, secrets: dict[str, str] | None = None, **arguments: Any
) -> tuple[bool, str]:
    tool = Tool(id="tool-1", name="f", source_code=source, source_type="typescript")
    done = await custom.run(tool, arguments, ToolEnvironment("agent-1", secrets=secrets or {}))
    return done.ok, done.text


@needs_node
async def test_arguments_arrive_in_their_places_and_results_come_back(tools: CustomTools) -> None:
    source = (
        "export async function f(a: number, b?: string, c: boolean = true): Promise<any> { return [a, b ?? null, c] }"
    )
    assert await call(tools, source, c=False, a=1) == (True, "[1,null,false]")
    assert await call(tools, "export default function f() { return 'text' }") == (True, "text")
    assert await call(tools, "export function f() {}") == (True, "None")


@needs_node
async def test_its_environment_is_the_agents_id_and_what_was_declared(tools: CustomTools) -> None:
    source = "export function f() { return Object.keys(process.env).sort().join() + process.env.LETTA_AGENT_ID }"
    names = "DECLARED,HOME,LANG,LETTA_AGENT_ID,LETTA_TOOL_ID,PATH,TMPDIR"
    assert await call(tools, source, {"DECLARED": "secret"}) == (True, f"{names}agent-1")


@needs_node
@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("throw new TypeError('no')", "Error: TypeError: no\n    at f (tool.mjs:1:"),
        ("return 10n", "cannot be said in JSON"),
        ("return 'x'.repeat(10_000_000)", "at most 4194304 can be returned"),
        ("process.exit(3)", "ended with exit code 3 before it returned anything"),
        ("return require('fs').readFileSync('/etc/passwd', 'utf8')", "Error"),
        ("return fetch('http://127.0.0.1:1')", "fetch failed"),
        ("return fetch('https://a.test/')", "Tools have no network unless it is allowed"),
        ("return fetch('http://192.0.2.1/')", "Tools have no network unless it is allowed"),
    ],
)
async def test_what_goes_wrong_is_told(tools: CustomTools, body: str, told: str) -> None:
    ok, text = await call(tools, f"export async function f(): Promise<any> {{ {body} }}")
    assert not ok
    assert told in text


@needs_node
async def test_an_unknown_argument_is_refused_by_name(tools: CustomTools) -> None:
    assert await call(tools, "export function f(a: number) { return a }", b=1) == (
        False,
        "Error: f has no parameter called b",
    )


@needs_node
async def test_npm_packages_can_be_imported(tools: CustomTools) -> None:
    source = "import sucrase from 'sucrase';\nexport function f() { return typeof sucrase.transform }"
    tool = Tool(
        id="tool-1",
        name="f",
        source_code=source,
        source_type="typescript",
        npm_requirements=[NpmRequirement(name="sucrase", version="3.35.0")],
    )
    done = await tools.run(tool, {}, ToolEnvironment())
    assert (done.ok, done.text) == (True, "function")


async def test_without_node_the_error_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    async with tools_in(tmp_path) as custom:
        ok, text = await call(custom, "export function f() {}")
    assert (ok, "need Node.js, and it is not installed" in text) == (False, True)
