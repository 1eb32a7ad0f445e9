"""Values that satisfy a JSON Schema: what the scripted model writes when an object of a certain shape is asked for.

Covers what tools and structured output use in practice: types, properties, items, enum, const, anyOf, `$ref` into the
same schema, lower bounds and common string formats. Anything else gets a value of its type.
"""

import re
from typing import Any

_DEEPEST = 8
_FORMATS = {
    "date": "2026-01-01",
    "date-time": "2026-01-01T00:00:00Z",
    "time": "00:00:00Z",
    "email": "user@example.com",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def sample(schema: dict[str, Any], text: str, hint: str, root: dict[str, Any] | None = None, depth: int = 0) -> Any:
    """A value for `schema`. Strings say `text`; choices and numbers are those `hint` names, else the first or smallest.

    `root` is the schema that references point into, `depth` how far down in it this one lies.
    """
    root = schema if root is None else root
    schema = _resolved(schema, root)
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return _chosen(schema["enum"], hint)
    kind = _kind(schema)
    if depth > _DEEPEST:
        return None
    if kind == "object":
        return {name: sample(field, text, hint, root, depth + 1) for name, field in _fields(schema, depth).items()}
    if kind == "array":
        items = schema.get("items")
        count = max(int(schema.get("minItems", 1)), 0)
        return [sample(items if isinstance(items, dict) else {"type": "string"}, text, hint, root, depth + 1)] * count
    return _scalar(kind, schema, text, hint)


def _resolved(schema: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    for _ in range(_DEEPEST):
        reference = schema.get("$ref")
        options = schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf")
        if isinstance(reference, str) and reference.startswith("#/"):
            found: Any = root
            for key in reference[2:].split("/"):
                found = found.get(key, {}) if isinstance(found, dict) else {}
            schema = found if isinstance(found, dict) else {}
        elif options and isinstance(options[0], dict):
            schema = options[0]
        else:
            break
    return schema


def _kind(schema: dict[str, Any]) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((name for name in kind if name != "null"), "null")
    return str(kind or ("object" if "properties" in schema else "string"))


def _fields(schema: dict[str, Any], depth: int) -> dict[str, Any]:
    """All properties near the top; further down only the required ones, so that a schema that contains itself ends."""
    properties: dict[str, Any] = schema.get("properties") or {}
    required = schema.get("required") or []
    return properties if depth < 2 else {name: properties[name] for name in properties if name in required}


def _chosen(options: list[Any], hint: str) -> Any:
    lowered = hint.lower()
    return next((option for option in options if isinstance(option, str) and option.lower() in lowered), options[0])


def _scalar(kind: str, schema: dict[str, Any], text: str, hint: str) -> Any:
    if kind in ("integer", "number"):
        return _number(kind, schema, hint)
    if kind == "boolean":
        return True
    if kind == "null":
        return None
    if schema.get("format") in _FORMATS:
        return _FORMATS[schema["format"]]
    shortest, longest = int(schema.get("minLength", 0)), schema.get("maxLength")
    return text.ljust(shortest, ".")[:longest]


def _number(kind: str, schema: dict[str, Any], hint: str) -> int | float:
    low, high = schema.get("minimum", schema.get("exclusiveMinimum", -1) + 1), schema.get("maximum")
    match = re.search(r"-?\d{1,15}(?:\.\d{1,15})?" if kind == "number" else r"-?\d{1,15}", hint)
    value: int | float = (float(match[0]) if "." in match[0] else int(match[0])) if match else low
    value = max(value, low) if "minimum" in schema or "exclusiveMinimum" in schema else value
    return value if high is None else min(value, high)
