"""What a tool's source says of it: its name, its description and the JSON Schema of its arguments.

Reads Python by its syntax only: no code of a tool runs here. Where that is not enough (pydantic models, imported
types), `derive` says which parameters are open, and whoever has a sandbox asks there.
"""

import ast
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from letta.errors import InvalidRequest
from letta.tools import docstrings
from letta.tools.annotations import Annotations, Unknown, told

LONGEST_NAME = 48
INJECTED = frozenset({"self", "agent_state", "client", "request_heartbeat"})
"""Parameters the server fills in itself; the model is not told of them."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_VARIADIC = "*args and **kwargs cannot be described to a model"


@dataclass(frozen=True, slots=True)
class Derived:
    """A schema as far as the source's syntax explains it. `open` maps the other parameters to their annotations.

    `guessed` are the parameters that neither an annotation nor the docstring gives a type.
    """

    schema: dict[str, Any]
    open: dict[str, str]
    guessed: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        return str(self.schema["name"])

    @property
    def parameters(self) -> dict[str, Any]:
        """The arguments' own schema."""
        found: dict[str, Any] = self.schema["parameters"]
        return found


def derive(source: str, name: str | None = None) -> Derived:
    """The schema of a function: the one named, or else the first at the top of the source that is not private.

    Functions with a docstring go before those without.

    Raises:
        letta.errors.InvalidRequest: the source is no Python, has no such function, or parameters no model can fill in.
    """
    module = parsed(source)
    function = _chosen(module, name)
    annotations = Annotations(module)
    documented = docstrings.parse(ast.get_docstring(function))
    properties: dict[str, Any] = {}
    required: list[str] = []
    left: dict[str, str] = {}
    guessed: set[str] = set()
    for argument, default in _parameters(function):
        if argument.arg in INJECTED:
            continue
        try:
            kind = annotations.schema(argument.annotation) if argument.annotation else None
        except Unknown as unknown:
            kind, left[argument.arg] = {}, str(unknown)
        if kind is None:
            kind = told(documented.types.get(argument.arg, ""))
        if kind is None:
            kind = _like(default)
            guessed.add(argument.arg)
        text = documented.parameters.get(argument.arg) or kind.get("description")
        properties[argument.arg] = {**kind, **({"description": text} if text else {}), **_default(default)}
        if default is None and not annotations.optional(argument.annotation):
            required.append(argument.arg)
    schema = {
        "name": function.name,
        "description": documented.description,
        "parameters": {"type": "object", "properties": properties, "required": required},
    }
    return Derived(schema, left, frozenset(guessed))


@lru_cache(maxsize=256)
def guesses(source: str, name: str | None) -> dict[str, dict[str, Any]]:
    """The schemas of parameters whose type nobody declared; none for a source that is no tool."""
    try:
        derived = derive(source, name)
    except InvalidRequest:
        return {}
    return {name: derived.parameters["properties"][name] for name in derived.guessed}


def parsed(source: str) -> ast.Module:
    """The source's syntax tree. Raises letta.errors.InvalidRequest naming the line that is wrong."""
    try:
        return ast.parse(source)
    except SyntaxError as error:
        raise InvalidRequest(f"source_code: line {error.lineno} is not valid Python: {error.msg}") from None
    except (ValueError, RecursionError, MemoryError) as error:  # null bytes, or nested beyond reason
        raise InvalidRequest(f"source_code: it cannot be read as Python ({error or type(error).__name__})") from None


def with_arguments(schema: dict[str, Any], arguments: dict[str, Any]) -> dict[str, Any]:
    """The schema with other arguments: a JSON Schema as pydantic writes it, whose references are put in place.

    Raises:
        letta.errors.InvalidRequest: it is not the schema of an object.
    """
    inlined = inline(arguments)
    if inlined.get("type", "object") != "object" or not isinstance(inlined.get("properties", {}), dict):
        raise InvalidRequest("args_json_schema: it must be the schema of an object, with properties")
    parameters = {
        "type": "object",
        "properties": inlined.get("properties", {}),
        "required": inlined.get("required", []),
    }
    return {**schema, "parameters": parameters}


def inline(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema without `$ref`: many models do not follow them. A part that contains itself becomes any object."""
    shared = {**schema.get("definitions", {}), **schema.get("$defs", {})}

    def put(value: Any, inside: tuple[str, ...]) -> Any:
        if isinstance(value, list):
            return [put(item, inside) for item in value]
        if not isinstance(value, dict):
            return value
        reference = value.get("$ref")
        if isinstance(reference, str):
            name = reference.rpartition("/")[2]
            found = shared.get(name)
            rest = {key: put(item, inside) for key, item in value.items() if key != "$ref"}
            if found is None or name in inside:
                return {"type": "object", **rest}
            return {**put(found, (*inside, name)), **rest}
        return {key: put(item, inside) for key, item in value.items() if key not in ("$defs", "definitions")}

    made: dict[str, Any] = put(schema, ())
    return made


def check(schema: dict[str, Any], source_name: str | None) -> None:
    """Refuse a schema no tool can have.

    Raises:
        letta.errors.InvalidRequest: the name is missing, too long, malformed or not the function's; or the
            parameters are no object.
    """
    name = schema.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidRequest(f"json_schema.name: {name!r} is not a name of letters, digits, _ and -")
    if len(name) > LONGEST_NAME:
        raise InvalidRequest(
            f"json_schema.name: {name!r} has {len(name)} characters, at most {LONGEST_NAME} are possible"
        )
    if source_name is not None and name != source_name:
        raise InvalidRequest(f"json_schema.name: it is {name!r}, but the source defines {source_name!r}")
    parameters = schema.get("parameters")
    if parameters is not None and not (
        isinstance(parameters, dict) and isinstance(parameters.get("properties", {}), dict)
    ):
        raise InvalidRequest("json_schema.parameters: it must be a JSON Schema of an object, with properties")


def _chosen(module: ast.Module, name: str | None) -> ast.FunctionDef | ast.AsyncFunctionDef:
    functions = [node for node in module.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    names = [function.name for function in functions]
    if name is not None:
        wanted = [function for function in functions if function.name == name]
        if not wanted:
            raise InvalidRequest(
                f"source_code: it defines no function called {name!r} (functions: {', '.join(names) or 'none'})"
            )
        return wanted[-1]
    public = [function for function in functions if not function.name.startswith("_")] or functions
    if not public:
        raise InvalidRequest("source_code: it defines no function; a tool is a function at the top of its source")
    return next((function for function in public if ast.get_docstring(function)), public[0])


def _parameters(
    function: ast.FunctionDef | ast.AsyncFunctionDef,
) -> list[tuple[ast.arg, ast.expr | None]]:
    given = function.args
    if given.vararg or given.kwarg:
        raise InvalidRequest(
            f"source_code: line {function.lineno}: {_VARIADIC}; name the parameters of {function.name}"
        )
    if given.posonlyargs:
        raise InvalidRequest(
            f"source_code: line {function.lineno}: {function.name} has positional-only parameters, but tools are "
            "called by name"
        )
    first = len(given.args) - len(given.defaults)
    defaults = [None] * first + list(given.defaults)
    return [*zip(given.args, defaults, strict=True), *zip(given.kwonlyargs, given.kw_defaults, strict=True)]


def _like(default: ast.expr | None) -> dict[str, Any]:
    """The schema of the default's type; of a string where there is none, or none that says a type."""
    value = _value(default)
    return (told(type(value).__name__) if value is not None else None) or {"type": "string"}


def _default(node: ast.expr | None) -> dict[str, Any]:
    """The default as JSON Schema has it, if it is a plain value other than None."""
    value = _value(node)
    return {"default": value} if isinstance(value, str | int | float | bool | list | dict) else {}


def _value(node: ast.expr | None) -> Any:
    """What a literal says; None for everything else."""
    try:
        return ast.literal_eval(node) if node is not None else None
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None
