"""Tools registered with an adapter: functions of its own process, and Python source for the server.

Knows how tools are described, listed and called; knows nothing of runs.
"""

import ast
import asyncio
import inspect
import json
from collections.abc import Awaitable, Callable, Coroutine, Generator, Mapping
from dataclasses import dataclass
from typing import Any

from letta_client import NotFoundError

from openharness.adapter import ToolDefinition
from openharness.types import Tool
from openharness_letta.connection import Connection, url_path
from openharness_letta.errors import about
from openharness_letta.schema import definition_of

Handler = Callable[..., Any]
Registrable = ToolDefinition | Mapping[str, Any] | Handler | str

HANDLER_KEYS = ("handler", "function", "callable")
SOURCE_KEYS = ("source_code", "source")


class HandlerExit(Exception):
    """A handler raised what is no error but the wish to end the process."""


class Change(Coroutine[Any, Any, None]):
    """A change to the tools. Await it to have it made now; otherwise it is made with the adapter's next call.

    `tool` is the name of the tool, or the id it was named by.
    """

    def __init__(self, tool: str, make: Callable[[], Awaitable[None]]) -> None:
        self.tool = tool
        self._make = make
        self._running: Generator[Any, None, None] | None = None

    def __await__(self) -> Generator[Any, None, None]:
        return self._make().__await__()

    def send(self, value: Any) -> Any:
        return self._driven().send(value)

    def throw(self, *error: Any) -> Any:
        return self._driven().throw(*error)

    def close(self) -> None:
        if self._running is not None:
            self._running.close()

    def _driven(self) -> Generator[Any, None, None]:
        self._running = self._running or self.__await__()
        return self._running


@dataclass
class ClientTool:
    """A tool that runs in this process. Without a `handler` every call of it is an error that says so."""

    definition: ToolDefinition
    handler: Handler | None

    def offered(self) -> dict[str, Any]:
        """The tool as a message offers it to the agent."""
        given = self.definition
        return {"name": given.name, "description": given.description, "parameters": _object_schema(given.input_schema)}

    def listed(self) -> Tool:
        given = self.definition
        return Tool(
            id=given.name,
            name=given.name,
            description=given.description or given.name,
            source="custom",
            input_schema=_object_schema(given.input_schema),
        )

    async def call(self, given: dict[str, Any]) -> Any:
        """Run the handler: a coroutine here, any other function in a thread.

        A handler with a single parameter that is no property of the input schema gets the whole input; any other gets
        the input as keyword arguments.

        Raises:
            NotImplementedError: there is no handler.
            HandlerExit: the handler wanted to end the process, which is not a tool's to end.
        """
        if self.handler is None:
            raise NotImplementedError(
                f"tool {self.definition.name} was registered without an implementation: pass a handler or source code"
            )
        arguments: tuple[tuple[Any, ...], dict[str, Any]] = ((given,), {}) if self._takes_all() else ((), given)
        try:
            if inspect.iscoroutinefunction(self.handler):
                return await self.handler(*arguments[0], **arguments[1])
            returned = await asyncio.to_thread(self.handler, *arguments[0], **arguments[1])
            return await returned if inspect.isawaitable(returned) else returned
        except (Exception, asyncio.CancelledError, KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:  # SystemExit and its like, which would end the event loop
            raise HandlerExit(f"the tool raised {type(error).__name__}: {error}") from error

    def _takes_all(self) -> bool:
        assert self.handler is not None
        parameters = list(inspect.signature(self.handler).parameters.values())
        properties = self.definition.input_schema.get("properties") or {}
        whole = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        return len(parameters) == 1 and parameters[0].kind in whole and parameters[0].name not in properties


@dataclass
class SourceTool:
    """A tool made of Python source, which runs on the server. `id` is the server's, once it has it."""

    name: str
    source_code: str
    definition: ToolDefinition | None
    id: str | None = None

    def body(self) -> dict[str, Any]:
        body: dict[str, Any] = {"source_code": self.source_code, "source_type": "python"}
        if self.definition is not None:
            given = self.definition
            parameters = _object_schema(given.input_schema)
            body["description"] = given.description
            body["json_schema"] = {"name": given.name, "description": given.description, "parameters": parameters}
        return body


def registered(tool: Registrable, handler: Handler | None, source_code: str | None) -> ClientTool | SourceTool:
    """What a caller's registration means.

    Raises:
        ValueError: the definition lacks a name, names two implementations, or its source does not fit it.
    """
    if isinstance(tool, str):
        return _source_tool(tool, None)
    if isinstance(tool, Mapping):
        handler = handler or next((tool[key] for key in HANDLER_KEYS if tool.get(key)), None)
        source_code = source_code or next((tool[key] for key in SOURCE_KEYS if tool.get(key)), None)
        tool = _definition_from(tool)
    elif not isinstance(tool, ToolDefinition):
        return ClientTool(definition_of(tool), tool)
    if not tool.name:
        raise ValueError("A tool needs a name: set `name` in the definition")
    if handler is not None and source_code is not None:
        raise ValueError(f"Tool {tool.name}: pass either a handler or source code, not both")
    if source_code is not None:
        return _source_tool(source_code, tool)
    return ClientTool(tool, handler)


def _definition_from(given: Mapping[str, Any]) -> ToolDefinition:
    unknown = set(given) - {"id", "name", "description", "input_schema", "parameters", *HANDLER_KEYS, *SOURCE_KEYS}
    if unknown:
        raise ValueError(f"Tool {given.get('name')}: unknown keys {sorted(unknown)}")
    schema = given.get("input_schema") or given.get("parameters") or {}
    return ToolDefinition(given.get("name") or "", given.get("description") or "", schema)


def _source_tool(source_code: str, definition: ToolDefinition | None) -> SourceTool:
    try:
        parsed = ast.parse(source_code)
    except SyntaxError as error:
        raise ValueError(f"The tool's source code is not valid Python: {error}") from error
    functions = [node.name for node in parsed.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    if not functions:
        raise ValueError("The tool's source code holds no function at its top level")
    name = definition.name if definition else functions[0]
    if name not in functions:
        raise ValueError(f"Tool {name}: its source code holds no function of that name, only {', '.join(functions)}")
    return SourceTool(name, source_code, definition)


def answer_text(value: Any) -> str:
    """What a tool returned, as the text its agent reads: strings as they are, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)


def listed(tool: dict[str, Any]) -> Tool:
    """A tool of the server in OpenHarness terms."""
    schema = tool.get("json_schema") or {}
    name = tool.get("name") or schema.get("name") or tool["id"]
    return Tool(
        id=tool["id"],
        name=name,
        description=tool.get("description") or schema.get("description") or name,
        source=_source(tool.get("tool_type") or "custom"),
        input_schema=_object_schema(schema.get("parameters") or {}),
        mcp_server_id=mcp_server_of(tool),
    )


def _source(tool_type: str) -> str:
    if tool_type == "external_mcp":
        return "mcp"
    return "builtin" if tool_type.startswith("letta_") else "custom"


def mcp_server_of(tool: dict[str, Any]) -> str | None:
    """The id of the MCP server a tool comes from, or its name where the server keeps no id."""
    about_mcp = (tool.get("metadata_") or tool.get("metadata") or {}).get("mcp") or {}
    server = about_mcp.get("server_id") or about_mcp.get("server_name")
    tagged = (tag.removeprefix("mcp:") for tag in tool.get("tags") or [] if tag.startswith("mcp:"))
    return server or next(tagged, None)


async def find_tool(connection: Connection, named: str) -> dict[str, Any]:
    """The tool of the server with that id or name.

    Raises:
        LookupError: there is none.
    """
    if named.startswith("tool-"):
        try:
            with about("Tool", named):
                found: dict[str, Any] = await connection.get(url_path("tools", named))
        except NotFoundError as error:
            raise LookupError(str(error)) from error
        return found
    for tool in await connection.get(url_path("tools", ""), name=named):
        if tool.get("name") == named:
            return dict(tool)
    raise LookupError(f"Tool not found: {named}")


def _object_schema(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": {}, **schema}
