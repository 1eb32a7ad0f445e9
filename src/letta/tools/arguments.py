"""Whether a call's arguments are what its tool's schema declares, and numbers that were written as text.

The schema may be a stranger's: of JSON Schema only the keywords below are looked at, none of which fetches anything or
takes longer than reading schema and arguments. Knows nothing of tools.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from itertools import islice
from typing import Any

import orjson
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # comes without types
from jsonschema.exceptions import SchemaError, ValidationError  # type: ignore[import-untyped]  # the same
from jsonschema.validators import create  # type: ignore[import-untyped]  # the same

from letta.errors import ToolFailed

_KEYWORDS = (
    "type", "enum", "const", "anyOf", "oneOf", "allOf", "properties", "required", "additionalProperties", "items",
    "prefixItems", "minItems", "maxItems", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength",
    "maxLength",
)  # fmt: skip
_MOST_PROBLEMS, _LONGEST_PROBLEM = 5, 300
_INTEGER = re.compile(r"[+-]?\d{1,30}")
_NUMBER = re.compile(r"[+-]?\d{1,30}(\.\d{1,30})?([eE][+-]?\d{1,3})?")
_TRUTHS = {"true": True, "false": False}

Keyword = Callable[[Any, Any, Any, Any], Iterator[ValidationError] | None]


def fitting(arguments: dict[str, Any], parameters: Any, guessed: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments, if each fits its schema in `parameters`; integers, numbers and truths may be written as text.

    An argument whose schema is the one in `guessed` may be anything: its type is a guess that nobody declared.
    Which arguments there must be is left to the function that is called. A schema that is no JSON Schema asks for
    nothing. Null fits whatever is not required: schemas do not say of optional parts that they may be null.

    Raises:
        letta.errors.ToolFailed: naming every problem, up to five.
    """
    properties = parameters.get("properties") if isinstance(parameters, dict) else None
    if not isinstance(properties, dict):
        return arguments
    required = parameters.get("required")
    try:
        shape, names = _json(properties), _json(required if isinstance(required, list) else [])
        validator = _validator(shape, names) if shape is not None and names is not None else None
        if validator is None:
            return arguments
        made = {name: _coerced(value, properties.get(name)) for name, value in arguments.items()}
        free = {name for name in made if name in guessed and properties.get(name) == guessed[name]}
        errors = validator.iter_errors({name: value for name, value in made.items() if name not in free})
        problems = [_told(error) for error in islice(errors, _MOST_PROBLEMS)]
    except RecursionError:
        raise ToolFailed("the arguments, or the schema of the tool, are nested too deeply to be checked.") from None
    if problems:
        raise ToolFailed(f"the arguments do not fit: {'; '.join(problems)}.")
    return made


def _json(value: Any) -> bytes | None:
    """None for what JSON cannot say, which defaults in source may hold."""
    try:
        return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS)
    except orjson.JSONEncodeError:
        return None


def _passing_null(keyword: Keyword) -> Keyword:
    def checked(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError] | None:
        return None if instance is None else keyword(validator, value, instance, schema)

    return checked


def _not_null(validator: Any, names: list[str], instance: Any, schema: Any) -> Iterator[ValidationError]:
    for name in names:
        if name in instance and instance[name] is None:
            yield ValidationError("None is not possible", path=[name])


_Checker = create(
    meta_schema=Draft202012Validator.META_SCHEMA,
    validators={keyword: _passing_null(Draft202012Validator.VALIDATORS[keyword]) for keyword in _KEYWORDS}
    | {"not null": _not_null},
    type_checker=Draft202012Validator.TYPE_CHECKER,
)


@lru_cache(maxsize=512)
def _validator(properties: bytes, required: bytes) -> Any:
    """What checks arguments with those properties; None if they are no JSON Schema. Both are JSON."""
    kinds: dict[str, Any] = orjson.loads(properties)
    try:
        Draft202012Validator.check_schema({"properties": kinds})
    except SchemaError:
        return None
    names = [name for name in orjson.loads(required) if isinstance(name, str) and not _takes_null(kinds.get(name))]
    return _Checker({"properties": kinds, "not null": names})


def _takes_null(schema: Any) -> bool:
    """Whether null is one of the values, or nothing says what they are."""
    if not isinstance(schema, dict):
        return True
    kinds = schema.get("type")
    members = [schema[key] for key in ("anyOf", "oneOf") if isinstance(schema.get(key), list)]
    if kinds == "null" or (isinstance(kinds, list) and "null" in kinds) or None in schema.get("enum", ()):
        return True
    if members:
        return any(_takes_null(member) for group in members for member in group)
    return kinds is None and "enum" not in schema


def _coerced(value: Any, schema: Any) -> Any:
    """The value with texts turned into the integers, numbers and truths that are asked for, where they say one."""
    if not isinstance(schema, dict):
        return value
    kind = schema.get("type")
    if isinstance(value, str):
        return _read(value, kind)
    if kind == "integer" and isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list) and isinstance(schema.get("items"), dict):
        return [_coerced(item, schema["items"]) for item in value]
    if isinstance(value, dict):
        known, others = schema.get("properties"), schema.get("additionalProperties")
        known = known if isinstance(known, dict) else {}
        return {name: _coerced(item, known.get(name, others)) for name, item in value.items()}
    return value


def _read(text: str, kind: Any) -> Any:
    if kind == "integer" and _INTEGER.fullmatch(text):
        return int(text)
    if kind == "number" and _NUMBER.fullmatch(text) and math.isfinite(float(text)):
        return float(text)
    return _TRUTHS.get(text.lower(), text) if kind == "boolean" else text


def _told(error: ValidationError) -> str:
    said = error.message if len(error.message) <= _LONGEST_PROBLEM else f"{error.message[:_LONGEST_PROBLEM]}..."
    return f"{error.json_path.removeprefix('$.').removeprefix('$')}: {said}"
