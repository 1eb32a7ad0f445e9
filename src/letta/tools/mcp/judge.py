"""Whether a tool of a foreign server can be offered to models: what it is called, and its schema.

A definition is data of a stranger. What cannot be stored, is no JSON Schema, or would break every request it is part of
is marked INVALID with reasons, and the tools beside it still work.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # comes without types
from jsonschema.exceptions import SchemaError  # type: ignore[import-untyped]  # the same

from letta.schemas.common import storable
from letta.schemas.mcp_servers import McpTool, McpToolHealth

LONGEST_DEFINITION = 100_000
"""Bytes of JSON; a longer one would fill a model's window by itself."""

MOST_TOOLS = 1000

_NOT_FOR_MODELS = re.compile(r"[^A-Za-z0-9_-]")
_LONGEST_NAME = 64
_MOST_REASONS = 10
_EMPTY: dict[str, Any] = {"type": "object", "properties": {}}


@dataclass(frozen=True, slots=True)
class Judged:
    """A tool that can be stored. `name` is the server's own, `call_name` the form models can write."""

    name: str
    call_name: str
    description: str
    parameters: dict[str, Any]
    health: McpToolHealth
    read_only: bool
    shown: McpTool


def judge(definitions: list[dict[str, Any]]) -> tuple[list[Judged], list[str]]:
    """The tools of a listing, and what is wrong with those that have not even a name of their own."""
    found: dict[str, Judged] = {}
    problems: list[str] = []
    for number, definition in enumerate(definitions[:MOST_TOOLS], 1):
        name = definition.get("name")
        if not isinstance(name, str) or not name or "\x00" in name or not _storable(name):
            problems.append(f"tool {number} has no usable name")
        elif name in found:
            problems.append(f"tool {number} has the name of another one: {name}")
        else:
            found[name] = _judged(name, definition)
    if len(definitions) > MOST_TOOLS:
        problems.append(f"{len(definitions) - MOST_TOOLS} tools beyond the first {MOST_TOOLS} are left out")
    return list(found.values()), problems


def _judged(name: str, definition: dict[str, Any]) -> Judged:
    reasons = list(_faults(definition))
    schema = _EMPTY if reasons else _normal(definition["inputSchema"])
    loose = [] if reasons else list(dict.fromkeys(_loosenesses(schema)))[:_MOST_REASONS]
    status = "INVALID" if reasons else "NON_STRICT_ONLY" if loose else "STRICT_COMPLIANT"
    health = McpToolHealth.model_validate({"status": status, "reasons": reasons or loose})
    annotations = definition.get("annotations")
    hints = annotations if isinstance(annotations, dict) and _storable(annotations) else {}
    description = definition.get("description")
    text = storable(description) if isinstance(description, str) and not reasons else ""
    shown = McpTool(
        name=name,
        title=definition["title"] if isinstance(definition.get("title"), str) and not reasons else None,
        description=text,
        inputSchema=schema,
        annotations=hints or None,
        health=health,
    )
    return Judged(name, call_name(name), text, schema, health, hints.get("readOnlyHint") is True, shown)


def call_name(name: str) -> str:
    """The name as every provider accepts it: letters, digits, `_` and `-`, 64 at most."""
    return _NOT_FOR_MODELS.sub("_", name)[:_LONGEST_NAME]


def _faults(definition: dict[str, Any]) -> Iterator[str]:
    """Why a tool cannot be offered."""
    schema = definition.get("inputSchema")
    if not isinstance(schema, dict):
        yield "inputSchema is missing" if schema is None else "inputSchema is not an object"
        return
    for field, value in (("description", definition.get("description")), ("inputSchema", schema)):
        if not _storable(value):
            yield f"{field} cannot be stored: it is nested too deeply, or holds what is no JSON or no text"
            return
    size = len(orjson.dumps([definition.get("description"), schema]))
    if size > LONGEST_DEFINITION:
        yield f"the definition has {size} bytes, {LONGEST_DEFINITION} at most are offered to models"
        return
    if schema.get("type") != "object":
        yield f"the type of inputSchema is {schema.get('type')!r}, it must be 'object'"
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        where = "/".join(map(str, error.absolute_path)) or "inputSchema"
        yield f"{where}: {str(error.message)[:300]}"
        return
    yield from _lost_references(schema)


def _lost_references(schema: dict[str, Any]) -> Iterator[str]:
    for part in _parts(schema):
        reference = part.get("$ref")
        if isinstance(reference, str) and not _leads_somewhere(reference, schema):
            yield f"$ref {reference[:200]!r} leads nowhere inside the schema"


def _leads_somewhere(reference: str, schema: Any) -> bool:
    if reference == "#":
        return True
    if not reference.startswith("#/"):
        return False
    for step in reference[2:].split("/"):
        step = step.replace("~1", "/").replace("~0", "~")
        if isinstance(schema, list) and step.isdigit() and int(step) < len(schema):
            schema = schema[int(step)]
        elif isinstance(schema, dict) and step in schema:
            schema = schema[step]
        else:
            return False
    return True


def _normal(schema: dict[str, Any]) -> dict[str, Any]:
    """What every provider expects to be there."""
    cleaned: dict[str, Any] = storable(schema)
    return {"properties": {}, **cleaned} if not isinstance(cleaned.get("properties"), dict) else cleaned


def _loosenesses(schema: dict[str, Any]) -> Iterator[str]:
    """Why a provider's strict mode would refuse the schema."""
    for part in _parts(schema):
        if part.get("type") != "object" and "properties" not in part:
            continue
        properties = part.get("properties", {})
        if part.get("additionalProperties") is not False:
            yield "an object allows additional properties"
        if optional := sorted(set(properties) - set(part.get("required", ()))):
            yield f"not required: {', '.join(optional)}"


def _parts(schema: Any) -> Iterator[dict[str, Any]]:
    """The schema and every schema in it; what stands under `enum`, `const`, `default` and `examples` is none."""
    if isinstance(schema, list):
        for item in schema:
            yield from _parts(item)
    if not isinstance(schema, dict):
        return
    yield schema
    for name, value in schema.items():
        if name in ("properties", "$defs", "definitions", "patternProperties", "dependentSchemas"):
            for inner in value.values() if isinstance(value, dict) else ():
                yield from _parts(inner)
        elif name not in ("enum", "const", "default", "examples"):
            yield from _parts(value)


def _storable(value: Any) -> bool:
    try:
        storable(value)
    except ValueError:
        return False
    return True
