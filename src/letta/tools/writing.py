"""A model writes a tool: from a description to source that makes a schema, with one more try where it does not.

Nothing is stored and the tool is not called; its source is run in the sandbox only where its schema needs that.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from letta.errors import InvalidRequest, ModelError
from letta.models.protocol import ModelParameters, ModelRequest, ToolSchema, collect
from letta.models.provider import Resolved
from letta.schemas.common import new_id
from letta.schemas.messages import Message, Role, TextPart, ToolCallPart
from letta.schemas.tools import Tool
from letta.store.query import now
from letta.tools.custom import CustomTools

_TRIES = 2
_INSTRUCTIONS = (
    "You write tools for AI agents. A tool is one Python function at the top of a source text: typed parameters, a "
    "docstring that says what it does and describes every parameter under `Args:`, and a result that JSON can say. "
    "Import what it needs inside of the function. Secrets are environment variables. Do not call the function. "
    "Answer by calling write_tool."
)
_ANSWER = ToolSchema(
    "write_tool",
    "Hand in the tool.",
    {
        "type": "object",
        "properties": {
            "source_code": {"type": "string", "description": "The Python source of the tool."},
            "sample_args": {"type": "string", "description": "A JSON object of arguments that shows how to call it."},
            "explanation": {"type": "string", "description": "What the tool does, and what to know about it."},
        },
        "required": ["source_code", "sample_args"],
    },
)


@dataclass(frozen=True, slots=True)
class Order:
    """What is wanted: a name, a description, source to start from, and what was wrong with earlier attempts."""

    name: str
    prompt: str
    starter_code: str | None = None
    problems: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Written:
    """A tool that is stored nowhere, arguments to try it with, and what the model says about it."""

    tool: Tool
    sample_args: dict[str, Any]
    said: str


async def write_tool(resolved: Resolved, custom: CustomTools, order: Order) -> Written:
    """Raises letta.errors.ModelError: the model fails, or writes source that is no tool."""
    problems = list(order.problems)
    for _ in range(_TRIES):
        request = ModelRequest(
            model=resolved.name,
            handle=resolved.handle,
            system=(_INSTRUCTIONS,),
            messages=[_message(_wish(order, problems))],
            tools=(_ANSWER,),
            tool_choice=_ANSWER.name,
            parameters=ModelParameters(parallel_tool_calls=False),
        )
        answer = await collect(resolved.model.stream(request))
        said = "\n".join(part.text for part in answer.parts if isinstance(part, TextPart)).strip()
        call = next((part for part in answer.parts if isinstance(part, ToolCallPart)), None)
        try:
            return await _made(custom, order, call, said)
        except InvalidRequest as error:
            problems.append(error.message)
    raise ModelError(f"the model wrote no usable tool: {problems[-1]}")


async def _made(custom: CustomTools, order: Order, call: ToolCallPart | None, said: str) -> Written:
    """Raises letta.errors.InvalidRequest: what was handed in is no tool."""
    if call is None or call.name != _ANSWER.name or call.error is not None:
        raise InvalidRequest("no tool was handed in: call write_tool")
    given = _object(call.arguments, "the arguments of write_tool")
    source, sample = given.get("source_code"), given.get("sample_args") or {}
    if not isinstance(source, str) or not source.strip():
        raise InvalidRequest("source_code is empty")
    arguments = sample if isinstance(sample, dict) else _object(str(sample), "sample_args")
    tool = Tool(id=new_id("tool"), source_code=source, source_type="python")
    schema = await custom.schema(tool)
    if schema["name"] != order.name:
        raise InvalidRequest(f"the function is called {schema['name']!r}, it must be called {order.name!r}")
    made = tool.model_copy(
        update={"name": schema["name"], "description": schema.get("description"), "json_schema": schema}
    )
    return Written(made, arguments, str(given.get("explanation") or said))


def _object(text: str, what: str) -> dict[str, Any]:
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, dict):
        raise InvalidRequest(f"{what} are no JSON object")
    return found


def _wish(order: Order, problems: Sequence[str]) -> str:
    parts = [f"Write the tool {order.name}: {order.prompt}"]
    if order.starter_code:
        parts.append(f"Start from this source:\n```python\n{order.starter_code}\n```")
    if problems:
        parts.append("What was wrong before:\n" + "\n".join(f"- {problem}" for problem in problems))
    return "\n\n".join(parts)


def _message(text: str) -> Message:
    return Message(
        id=new_id("message"),
        role=Role.USER,
        parts=[TextPart(text=text)],
        agent_id="",
        conversation_id="",
        created_at=now(),
    )
