"""The tools of one agent: what the model is told of them, and what happens when it calls one.

A tool's failure becomes data for the model here and nowhere else.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import orjson

from letta.errors import LettaError, ToolFailed
from letta.models.protocol import ToolSchema
from letta.schemas.common import storable
from letta.schemas.messages import TextPart, ToolCallPart, ToolReturnPart
from letta.schemas.sends import ClientTool
from letta.schemas.tools import Tool
from letta.store.access import is_failure
from letta.tools import builtin
from letta.tools.context import Errand, ErrandRunner, ToolContext, ToolResult
from letta.tools.mcp import listing
from letta.tools.rules import RuleBook

log = logging.getLogger(__name__)

_JSON_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}
ONE_AT_A_TIME = "you can make one call at a time. This one was not made: make it again if you still want it."
_IGNORED = frozenset({"request_heartbeat", "thinking", "inner_thoughts"})


class Toolbox:
    """An agent's tools, by name.

    `client_tools` run in the client and hide tools of the same name; `runners` carry out tools outside the step's
    transaction: by their type, or built-in ones by their name.
    """

    def __init__(
        self,
        tools: Sequence[Tool],
        client_tools: Sequence[ClientTool] = (),
        runners: Mapping[str, ErrandRunner] = MappingProxyType({}),
    ) -> None:
        self._client = {tool.name: tool for tool in client_tools}
        usable = [tool for tool in tools if not listing.quarantined(tool)]
        self._tools = {str(tool.name): tool for tool in usable if tool.name not in self._client}
        self._runners = runners
        self.schemas = (*(_schema(tool) for tool in self._tools.values()), *map(_client_schema, client_tools))

    @property
    def names(self) -> tuple[str, ...]:
        return (*self._tools, *self._client)

    def waits(self, part: ToolCallPart, rules: RuleBook) -> bool:
        """Whether a call has to be answered from outside: by the client that runs it, or a person who allows it."""
        return part.error is None and not part.surplus and self.holds(part.name, rules)

    def holds(self, name: str, rules: RuleBook) -> bool:
        """Whether calls of this tool wait."""
        return name in self._client or (name in self._tools and rules.needs_approval(name))

    def is_errand(self, part: ToolCallPart) -> bool:
        """Whether a call runs outside the transaction."""
        tool = self._tools.get(part.name)
        broken = part.error is not None or part.surplus
        return tool is not None and self._runner(tool) is not None and not broken

    def repeats(self, part: ToolCallPart) -> bool:
        """Whether a call may be made again when nobody knows what came of it."""
        tool = self._tools.get(part.name)
        return tool is not None and bool(tool.idempotent)

    def _runner(self, tool: Tool) -> ErrandRunner | None:
        return runner_of(tool, self._runners)

    async def run_errands(
        self, parts: Sequence[ToolCallPart], rules: RuleBook, errand: Callable[[ToolCallPart, Tool], Errand]
    ) -> dict[str, ToolReturnPart]:
        """The results of the calls among `parts` that are errands, by call id.

        Tools that allow it run side by side, the others one after the other.
        """
        allowed = [part for part in self._permitted(parts, rules) if self.is_errand(part)]
        together = [part for part in allowed if self._tools[part.name].enable_parallel_execution]
        alone = [part for part in allowed if part not in together]

        async def one_by_one() -> list[ToolReturnPart]:
            return [await self._errand(part, rules, errand) for part in alone]

        async with asyncio.TaskGroup() as group:
            parallel = [group.create_task(self._errand(part, rules, errand)) for part in together]
            serial = group.create_task(one_by_one())
        results = [*(task.result() for task in parallel), *serial.result()]
        return {result.tool_call_id: result for result in results}

    def _permitted(self, parts: Sequence[ToolCallPart], rules: RuleBook) -> list[ToolCallPart]:
        """The calls the rules allow, one after the other; the rest is refused when it is its turn."""
        book, found = rules.copy(), []
        for part in parts:
            if part.name in book.permitted(self.names).names:
                found.append(part)
            book.note(part.name, "")
        return found

    async def _errand(
        self, part: ToolCallPart, rules: RuleBook, errand: Callable[[ToolCallPart, Tool], Errand]
    ) -> ToolReturnPart:
        tool = self._tools[part.name]
        try:
            given = errand(part, tool)
            arguments = _arguments(part) | rules.prefilled(part.name)
            runner = self._runner(tool)
            assert runner is not None, "only errands get here"
            result = await runner(replace(given, arguments=arguments))
        except LettaError as error:
            return self._answer(part, ToolResult(f"Error: {error.message}", ok=False))
        except Exception as error:
            # The model gets to know that it failed; the details are for the operator.
            log.exception("tool %s failed", part.name)
            return self._answer(part, ToolResult(_unexpected(error), ok=False))
        return self._answer(part, result)

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
            return self._answer(part, ToolResult(f"Error: {error.message}", ok=False))
        except Exception as error:
            if is_failure(error):
                raise
            # The model gets to know that it failed; the details are for the operator.
            savepoint.rollback()
            log.exception("tool %s failed", part.name)
            return self._answer(part, ToolResult(_unexpected(error), ok=False))
        return self._answer(part, ToolResult(text))

    def _run(
        self, context: ToolContext, part: ToolCallPart, permitted: Sequence[str], prefilled: dict[str, Any]
    ) -> str:
        if part.error is not None:
            raise ToolFailed(part.error)
        if part.surplus:
            raise ToolFailed(ONE_AT_A_TIME)
        tool = self._tools.get(part.name)
        if tool is None:
            raise ToolFailed(f"there is no tool called {part.name!r}. Your tools: {', '.join(self.names) or 'none'}.")
        if part.name not in permitted:
            raise ToolFailed(
                f"your tool rules do not allow {part.name} now. Allowed: {', '.join(permitted) or 'no tool'}."
            )
        arguments = _arguments(part) | prefilled
        known = builtin.BY_NAME.get(part.name)
        if known is None or tool.tool_type == "custom":
            raise ToolFailed(f"{part.name} is a {tool.tool_type} tool, which this server cannot run.")
        return builtin.run(known, context, checked(arguments, known.accepted))

    def _answer(self, part: ToolCallPart, result: ToolResult) -> ToolReturnPart:
        tool = self._tools.get(part.name)
        limit = (tool.return_char_limit if tool else None) or 50_000
        text = result.text
        if len(text) > limit:
            text = f"{text[:limit]}... [cut: {len(text)} characters, the limit of this tool is {limit}]"
        text = text.replace("\x00", "")
        return ToolReturnPart(
            tool_call_id=part.id,
            name=part.name,
            status="success" if result.ok else "error",
            content=(TextPart(text=text), *result.images) if result.images else text,
            stdout=result.stdout,
            stderr=result.stderr,
        )


def runner_of(tool: Tool, runners: Mapping[str, ErrandRunner]) -> ErrandRunner | None:
    """Who carries out a tool outside of the transaction: built-in ones by their name, the others by their type."""
    by_name = runners.get(str(tool.name)) if tool.tool_type.startswith("letta_") else None
    return by_name or runners.get(str(tool.tool_type))


def _unexpected(error: Exception) -> str:
    return f"Error: the tool failed unexpectedly ({type(error).__name__})."


def _client_schema(tool: ClientTool) -> ToolSchema:
    return ToolSchema(tool.name, tool.description or "", tool.parameters or {"type": "object", "properties": {}})


def _schema(tool: Tool) -> ToolSchema:
    schema = tool.json_schema or {}
    parameters = schema.get("parameters") or {"type": "object", "properties": {}}
    return ToolSchema(str(tool.name), tool.description or schema.get("description") or "", parameters)


def _arguments(part: ToolCallPart) -> dict[str, Any]:
    """What a call says, without the NUL characters that no database and no process takes."""
    try:
        arguments: Any = orjson.loads(part.arguments or "{}")
    except orjson.JSONDecodeError as error:
        raise ToolFailed(f"the arguments are not valid JSON ({error}). Send them again as a JSON object.") from None
    if not isinstance(arguments, dict):
        raise ToolFailed("the arguments must be a JSON object.")
    try:
        clean: dict[str, Any] = storable(arguments)
    except ValueError as error:
        raise ToolFailed(f"the arguments cannot be used: {error}.") from None
    return {key: value for key, value in clean.items() if key not in _IGNORED}


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
    if isinstance(value, list) and "items" in schema:
        wrong = ((one, _mismatch(one, schema["items"])) for one in value)
        return next((f"holds {one!r}, which {problem}" for one, problem in wrong if problem), None)
    return None
