"""Configurations with secrets, schemas of strangers, and what tools answer: the parts that need no server."""

import subprocess
import sys
from typing import Any

import pytest

from letta.errors import InvalidRequest
from letta.schemas.messages import Base64Image, ImagePart
from letta.tools.mcp import content, target
from letta.tools.mcp.judge import LONGEST_DEFINITION, MOST_TOOLS, judge
from letta.tools.mcp.protocol import Outcome
from letta.tools.mcp.target import HttpTarget, StdioTarget

STARS = "********"
PIXEL = "iVBORw0KGgo="


def http(**fields: Any) -> dict[str, Any]:
    return {"mcp_server_type": "streamable_http", "server_url": "https://mcp.test/mcp", **fields}


def stdio(**fields: Any) -> dict[str, Any]:
    return {"mcp_server_type": "stdio", "command": "run", "args": [], **fields}


def test_secrets_are_split_off_and_put_back() -> None:
    config = http(auth_token="t", custom_headers={"A": "a", "B": "Bearer {{ B }}"})
    shown, secrets = target.split(config)
    assert shown == http(auth_token=STARS, custom_headers={"A": STARS, "B": "Bearer {{ B }}"})
    assert secrets == {"auth_token": "t", "custom_headers.A": "a"}
    assert target.joined(shown, secrets) == config


@pytest.mark.parametrize("text", ["{{ A }}", "{{A}}", "Bearer {{ A }}", "bearer {{A}}{{B}}"])
def test_name_of_a_secret_may_be_shown(text: str) -> None:
    assert target.is_reference(text)


@pytest.mark.parametrize("text", ["", "plain", "x{{ A }}", "{{ A | fallback }}", "{ A }", "{{ 1A }}"])
def test_text_that_holds_more_than_a_name_is_hidden(text: str) -> None:
    assert not target.is_reference(text)


def test_secrets_are_filled_in_everywhere() -> None:
    config = stdio(args=["--key={{ KEY }}"], env={"A": "{{KEY}}", "B": "{{ OTHER | none }}", "C": "{{ EMPTY | }}"})
    assert target.secrets_named(config) == {"KEY", "OTHER", "EMPTY"}
    filled = target.resolve(config, {"KEY": "k"})
    assert filled == StdioTarget("run", ("--key=k",), {"A": "k", "B": "none", "C": ""})
    assert target.resolve(http(server_url="https://mcp.test/{{KEY}}"), {"KEY": "k"}) == HttpTarget(
        "streamable_http", "https://mcp.test/k", {}
    )


def test_secret_in_a_secret_is_not_looked_up() -> None:
    filled = target.resolve(stdio(env={"A": "{{ KEY }}"}), {"KEY": "{{ OTHER }}", "OTHER": "o"})
    assert filled == StdioTarget("run", (), {"A": "{{ OTHER }}"})


def test_missing_secrets_are_named() -> None:
    with pytest.raises(InvalidRequest, match="A, B"):
        target.resolve(stdio(env={"X": "{{ B }}", "Y": "{{ A }} {{ B }}"}), {})


@pytest.mark.parametrize(
    ("fields", "headers"),
    [
        ({"auth_token": "t"}, {"Authorization": "Bearer t"}),
        ({"auth_token": "Basic t"}, {"Authorization": "Basic t"}),
        ({"auth_header": "X-Key", "auth_token": "t"}, {"X-Key": "t"}),
        ({"auth_header": "X-Key"}, {}),
        ({"custom_headers": {"A": "a"}, "auth_token": "t"}, {"A": "a", "Authorization": "Bearer t"}),
    ],
)
def test_token_is_sent_in_its_header(fields: dict[str, Any], headers: dict[str, str]) -> None:
    found = target.resolve(http(**fields), {})
    assert isinstance(found, HttpTarget)
    assert found.headers == headers


@pytest.mark.parametrize("headers", [{"A": "a\r\nB: b"}, {"A B": "a"}, {"": "a"}, {"A": "ü"}, {"A": "\x7f"}])
def test_header_that_cannot_be_sent_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(InvalidRequest):
        target.resolve(http(custom_headers=headers), {})


def test_same_target_has_the_same_fingerprint() -> None:
    one, other = http(custom_headers={"A": "a", "B": "b"}), http(custom_headers={"B": "b", "A": "a"})
    assert target.fingerprint(target.resolve(one, {})) == target.fingerprint(target.resolve(other, {}))
    assert target.fingerprint(target.resolve(one, {})) != target.fingerprint(target.resolve(http(), {}))


def test_values_of_secrets_are_taken_out_of_texts() -> None:
    found = target.resolve(http(auth_token="secret-token", custom_headers={"A": "other-secret", "B": "x"}), {})
    text = target.without_secrets("secret-token, Bearer secret-token, other-secret and x", found)
    assert text == f"{STARS}, {STARS}, {STARS} and x"


def tool(schema: Any, **fields: Any) -> dict[str, Any]:
    return {"name": "tool", "inputSchema": schema, **fields}


def deep(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object"}
    for _ in range(levels):
        schema = {"type": "object", "properties": {"a": schema}}
    return schema


INVALID: dict[str, tuple[dict[str, Any], str]] = {
    "no schema": ({"name": "tool"}, "inputSchema is missing"),
    "null": (tool(None), "inputSchema is missing"),
    "a text": (tool("none"), "inputSchema is not an object"),
    "no object": (tool({"type": "string"}), "must be 'object'"),
    "no type": (tool({"properties": {}}), "must be 'object'"),
    "unknown type": (tool({"type": "object", "properties": {"a": {"type": "x"}}}), "properties/a/type"),
    "properties in a list": (tool({"type": "object", "properties": []}), "properties: "),
    "required as text": (tool({"type": "object", "required": "a"}), "required: "),
    "lost reference": (tool({"type": "object", "properties": {"a": {"$ref": "#/$defs/A"}}}), "leads nowhere"),
    "foreign reference": (tool({"type": "object", "$ref": "https://example.test/schema"}), "leads nowhere"),
    "too deep": (tool(deep(200)), "nested too deeply"),
    "too long": (tool({"type": "object", "description": "x" * LONGEST_DEFINITION}), "bytes"),
    "infinite": (tool({"type": "object", "maxProperties": float("inf")}), "cannot be stored"),
    "half a character": (tool({"type": "object"}, description="\ud800"), "cannot be stored"),
}


@pytest.mark.parametrize("kind", INVALID)
def test_broken_schema_is_marked_and_replaced_by_an_empty_one(kind: str) -> None:
    definition, reason = INVALID[kind]
    [judged], problems = judge([definition])
    assert (judged.health.status, problems) == ("INVALID", [])
    assert reason in " ".join(judged.health.reasons)
    assert judged.parameters == {"type": "object", "properties": {}}


def test_recursive_schema_can_be_offered() -> None:
    schema = {
        "type": "object",
        "properties": {"tree": {"$ref": "#/$defs/Node"}},
        "$defs": {"Node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}}},
    }
    [judged], _ = judge([tool(schema)])
    assert (judged.health.status, judged.parameters) == ("NON_STRICT_ONLY", schema)


def test_schema_for_strict_mode_is_recognised() -> None:
    schema = {
        "type": "object", "properties": {"a": {"type": "string", "enum": ["$ref"]}}, "required": ["a"],
        "additionalProperties": False,
    }  # fmt: skip
    [judged], _ = judge([tool(schema, annotations={"readOnlyHint": True})])
    assert (judged.health.status, judged.health.reasons, judged.read_only) == ("STRICT_COMPLIANT", [], True)


def test_names_are_made_fit_for_models_and_doubles_left_out() -> None:
    plain = {"type": "object"}
    definitions = [{"name": name, "inputSchema": plain} for name in ("a.b/c d", "ü", "x" * 100, "twice", "twice", "")]
    judged, problems = judge(definitions)
    assert [one.call_name for one in judged] == ["a_b_c_d", "_", "x" * 64, "twice"]
    assert problems == ["tool 5 has the name of another one: twice", "tool 6 has no usable name"]


def test_endless_listing_is_cut() -> None:
    judged, problems = judge([{"name": f"t{n}", "inputSchema": {"type": "object"}} for n in range(MOST_TOOLS + 5)])
    assert (len(judged), problems) == (MOST_TOOLS, [f"5 tools beyond the first {MOST_TOOLS} are left out"])


def test_every_kind_of_content_is_told() -> None:
    blocks: list[dict[str, Any]] = [
        {"type": "text", "text": "hello"},
        {"type": "image", "mimeType": "image/png", "data": PIXEL},
        {"type": "image", "mimeType": "image/tiff", "data": PIXEL},
        {"type": "image", "mimeType": "image/png", "data": "no base64!"},
        {"type": "audio", "mimeType": "audio/wav", "data": PIXEL},
        {"type": "resource", "resource": {"uri": "file:///a", "text": "inside"}},
        {"type": "resource", "resource": {"uri": "file:///b", "mimeType": "a/b", "blob": PIXEL}},
        {"type": "resource_link", "name": "c", "uri": "file:///c"},
    ]
    assert content.outcome(blocks, None, ok=True) == Outcome(
        "hello\n[image: image/png, 8 bytes]\n[image: image/tiff, 8 bytes, not shown]\n"
        "[image: image/png, 7 bytes, not shown]\n[audio: audio/wav, 8 bytes, not shown]\n[file:///a]\ninside\n"
        "[8 bytes of a/b: file:///b]\n[c: file:///c]",
        True,
        (ImagePart(source=Base64Image(media_type="image/png", data=PIXEL)),),
    )


def test_structured_content_stands_in_for_none() -> None:
    assert content.outcome([], {"a": [1]}, ok=True) == Outcome('{"a":[1]}')
    assert content.outcome([{"type": "text", "text": "1"}], {"a": 1}, ok=True) == Outcome("1")
    assert content.outcome([], None, ok=False) == Outcome("", ok=False)


def test_server_starts_without_the_library() -> None:
    loaded = (
        "import sys, letta.app; print([name for name in ('mcp', 'mcp_types', 'jsonschema') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
