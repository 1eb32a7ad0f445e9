"""A JSON Schema for the parameters of a Python function, from its signature and docstring. Pure."""

import inspect
import re
import types
from collections.abc import Callable
from enum import Enum
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from openharness.adapter import ToolDefinition

_NAMES: dict[Any, str] = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}
_ARGUMENT = re.compile(r"^[ \t]+(\w+)(?:[ \t]*\([^)\n]*\))?:[ \t]*(\S.*)$", re.MULTILINE)


def definition_of(function: Callable[..., Any]) -> ToolDefinition:
    """A tool definition for a function: its name, the first paragraph of its docstring, its parameters.

    Raises:
        ValueError: a parameter cannot be passed by name.
    """
    name = getattr(function, "__name__", type(function).__name__)
    text = inspect.getdoc(function) or ""
    summary = " ".join(text.split("\n\n")[0].split())
    return ToolDefinition(name, summary or f"Calls {name}", _parameters(function, name, text))


def _parameters(function: Callable[..., Any], name: str, text: str) -> dict[str, Any]:
    described = dict(_ARGUMENT.findall(text))
    hints = _hints(function)
    properties: dict[str, Any] = {}
    required: list[str] = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            continue
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.VAR_POSITIONAL):
            raise ValueError(f"Tool {name}: parameter {parameter.name} cannot be passed by name; make it a keyword")
        schema = type_schema(hints.get(parameter.name, Any))
        if parameter.name in described:
            schema = {**schema, "description": described[parameter.name].strip()}
        properties[parameter.name] = schema
        if parameter.default is parameter.empty:
            required.append(parameter.name)
    return {"type": "object", "properties": properties, "required": required}


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(function if inspect.isroutine(function) else type(function).__call__)
    except NameError:
        # A name only its author's type checker knows: the schema is then open, and the tool works all the same.
        return {}


def type_schema(hint: Any) -> dict[str, Any]:
    """The schema of one type; a type it does not know is left open (`{}`)."""
    if hint in _NAMES:
        return {"type": _NAMES[hint]}
    if inspect.isclass(hint) and issubclass(hint, Enum):
        return {"enum": [member.value for member in hint]}
    origin, arguments = get_origin(hint) or hint, get_args(hint)
    if origin in (Union, types.UnionType):
        return {"anyOf": [type_schema(argument) for argument in arguments]}
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin in (list, set, tuple, frozenset):
        return {"type": "array", "items": type_schema(arguments[0]) if arguments else {}}
    if origin is dict:
        return {"type": "object"}
    return {}
