"""The tools of one agent: what the model is told of them, and what happens when it calls one.

A tool's failure becomes data for the model here and nowhere else.
"""

import logging
from collections.abc import Sequence
from typing import Any

import orjson

from letta.errors import LettaError, ToolFailed
from letta.models.protocol import ToolSchema
from letta.schemas.messages import ToolCallPart, ToolReturnPart
from letta.schemas.tools import Tool
from letta.tools import builtin
from letta.tools.context import ToolContext

log = logging.getLogger(__name__)

_JSON_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}
_IGNORED = frozenset({"request_heartbeat", "thinking", "inner_thoughts"})


class Toolbox:
    """An agent's tools, by name."""

    def __init__(self, tools: Sequence[Tool]) -> None:
        self._tools = {str(tool.name): tool for tool in tools}
        self.schemas = tuple(_schema(tool) for tool in tools)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._tools)

    def call(
        self, context: ToolContext, part: ToolCallPart, permitted: Sequence[str], prefilled: dict[str, Any]
    ) -> ToolReturnPart:
        """Run a call in the step's transaction and answer it; edits of a call that fails are undone."""
        savepoint = context.connection.begin_nested()
        try:
            text = self._run(context, part, permitted, prefilled)
            savepoint.commit()
        except LettaError as error:
            savepoint.rollback()
            return self._answer(part, f"Error: {error.message}", ok=False)
        except Exception as error:
            # The model gets to know that it failed; the details are for the operator.
            savepoint.rollback()
            log.exception("tool %s failed", part.name)
            return self._answer(part, f"Error: the tool failed unexpectedly ({type(error).__name__}).", ok=False)
        return self._answer(part, text, ok=True)

    def _run(
        self, context: ToolContext, part: ToolCallPart, permitted: Sequence[str], prefilled: dict[str, Any]
    ) -> str:
        tool = self._tools.get(part.name)
        if tool is None:
            raise ToolFailed(f"there is no tool called {part.name!r}. Your tools: {', '.join(self._tools) or 'none'}.")
        if part.name not in permitted:
            raise ToolFailed(
                f"your tool rules do not allow {part.name} now. Allowed: {', '.join(permitted) or 'no tool'}."
            )
        arguments = _arguments(part) | prefilled
        known = builtin.BY_NAME.get(part.name)
        if known is None or tool.tool_type == "custom":
            raise ToolFailed(
                f"{part.name} is a {tool.tool_type} tool, which this version of the server cannot run yet."
            )
        return builtin.run(known, context, checked(arguments, known.schema["parameters"]))

    def _answer(self, part: ToolCallPart, text: str, *, ok: bool) -> ToolReturnPart:
        tool = self._tools.get(part.name)
        limit = (tool.return_char_limit if tool else None) or 50_000
        if len(text) > limit:
            text = f"{text[:limit]}... [cut: {len(text)} characters, the limit of this tool is {limit}]"
        return ToolReturnPart(
            tool_call_id=part.id, name=part.name, status="success" if ok else "error", content=text.replace("\x00", "")
        )


def _schema(tool: Tool) -> ToolSchema:
    schema = tool.json_schema or {}
    parameters = schema.get("parameters") or {"type": "object", "properties": {}}
    return ToolSchema(str(tool.name), schema.get("description") or tool.description or "", parameters)


def _arguments(part: ToolCallPart) -> dict[str, Any]:
    if part.error:
        raise ToolFailed(part.error)
    try:
        arguments = orjson.loads(part.arguments or "{}")
    except orjson.JSONDecodeError as error:
        raise ToolFailed(f"the arguments are not valid JSON ({error}). Send them again as a JSON object.") from None
    if not isinstance(arguments, dict):
        raise ToolFailed("the arguments must be a JSON object.")
    return {key: value for key, value in arguments.items() if key not in _IGNORED}


def checked(arguments: dict[str, Any], parameters: dict[str, Any]) -> dict[str, Any]:
    """The arguments, if they fit the schema: names, required ones, simple types and enums. Null counts as left out.

    Raises:
        letta.errors.ToolFailed: naming every problem.
    """
    properties, required = parameters.get("properties", {}), parameters.get("required", [])
    given = {name: value for name, value in arguments.items() if value is not None}
    problems = [f"{name} is missing" for name in required if name not in given]
    for name, value in given.items():
        if name not in properties:
            problems.append(f"{name} is not an argument (arguments: {', '.join(properties) or 'none'})")
        elif problem := _mismatch(value, properties[name]):
            problems.append(f"{name} {problem}")
    if problems:
        raise ToolFailed("; ".join(problems) + ".")
    return given


def _mismatch(value: Any, schema: dict[str, Any]) -> str | None:
    kinds = _JSON_TYPES.get(schema.get("type", ""))
    if kinds and (not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds)):
        return f"must be of type {schema['type']}"
    if "enum" in schema and value not in schema["enum"]:
        return f"must be one of {', '.join(map(str, schema['enum']))}"
    return None
