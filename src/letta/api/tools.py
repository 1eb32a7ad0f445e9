"""Tools: `/v1/tools`."""

from dataclasses import asdict
from typing import Annotated, Any, ClassVar

from fastapi import Depends, Query
from pydantic import Field
from sqlalchemy import Connection

from letta.api import routes
from letta.api.context import Page, Parts, Server, ToolId, paging, reply
from letta.errors import Conflict, InvalidRequest, NotBuilt
from letta.schemas.common import Body, JsonObject, Timestamp, Wire, new_id
from letta.schemas.tools import (
    CreateTool,
    Tool,
    ToolExecutionResult,
    ToolRunFromSource,
    ToolSearch,
    ToolSearchResult,
    ToolType,
    UpdateTool,
)
from letta.store import tool_search, tools
from letta.store.query import now
from letta.store.tools import ToolFilter
from letta.tools import builtin
from letta.tools.custom import Execution, ToolEnvironment
from letta.tools.writing import Order, write_tool

router = routes.router(prefix="/v1/tools", tags=["tools"])

Texts = Annotated[list[str] | None, Query()]
Types = Annotated[list[ToolType] | None, Query()]
Tools = Annotated[Page, Depends(paging())]

_OURS = tuple(kind.value for kind in ToolType if kind.startswith("letta_"))
# What any tool may be given; the rest is its code and what follows from it.
_FREE = {"description", "tags", "return_char_limit", "default_requires_approval", "idempotent", "metadata_"}
_CODE = {
    "source_code", "source_type", "json_schema", "args_json_schema", "pip_requirements", "npm_requirements", "name",
}  # fmt: skip


class ToolChanges(UpdateTool):
    """Changes to a tool. A name follows from the source: it is read here only to be refused where it does not."""

    name: str | None = None


class ToolSource(Body):
    """Source to make a schema of."""

    code: str
    source_type: str = "python"


class ToolWish(Body):
    """A tool for a model to write. `validation_errors` are what was wrong with an earlier attempt."""

    never_null: ClassVar[frozenset[str]] = frozenset({"validation_errors"})

    tool_name: str = Field(pattern=r"^[A-Za-z_]\w{0,47}$", description="What the function is to be called")
    prompt: str = Field(min_length=1, description="What the tool is to do")
    handle: str | None = Field(default=None, description="The model that writes it; the default one if left out")
    starter_code: str | None = None
    validation_errors: list[str] = Field(default_factory=list)


class WrittenTool(Wire):
    """A tool that a model wrote. It is stored nowhere: `tool.source_code` is what `POST /v1/tools` takes."""

    tool: Tool
    sample_args: JsonObject
    response: str


class ToolRunAnswer(ToolExecutionResult):
    """What a run from source gave: as newer clients read it, and as a tool's message, which older ones expect."""

    id: str
    date: Timestamp
    message_type: str = "tool_return_message"
    name: str | None = None
    tool_return: str
    tool_call_id: str = "null"


class PackageState(Wire):
    """How far one kind of packages is; `detail` is why they could not be installed, `seconds` how long it took."""

    status: str
    requirements: list[str] = Field(default_factory=list)
    fingerprint: str | None = None
    detail: str | None = None
    seconds: float | None = None


class ToolPackages(Wire):
    """The packages of a tool, by kind."""

    pip: PackageState
    npm: PackageState


async def _filter(
    name: str | None = None,
    names: Texts = None,
    tool_ids: Texts = None,
    search: Annotated[str | None, Query(description="A part of the name")] = None,
    tool_types: Types = None,
    exclude_tool_types: Types = None,
    return_only_letta_tools: bool | None = None,
    project_id: str | None = None,
) -> ToolFilter:
    types = [kind.value for kind in tool_types or ()]
    if return_only_letta_tools:
        # Asked for others only: nothing is both.
        types = [kind for kind in types or _OURS if kind in _OURS] or ["none"]
    return ToolFilter(
        name=name,
        names=names or (),
        tool_ids=tool_ids or (),
        search=search,
        tool_types=types,
        exclude_tool_types=[kind.value for kind in exclude_tool_types or ()],
        project_id=project_id,
    )


Wanted = Annotated[ToolFilter, Depends(_filter)]


@router.get("", response_model=list[Tool])
async def list_tools(parts: Parts, wanted: Wanted, page: Tools) -> Any:
    return reply(await parts.database.read(lambda connection: tools.list_page(connection, wanted, **page.arguments())))


@router.post("", response_model=Tool)
async def create_tool(parts: Parts, body: CreateTool) -> Any:
    """Make a tool from source. One of the same name is brought to this source."""
    return reply(await _stored(parts, body))


@router.put("", response_model=Tool)
async def upsert_tool(parts: Parts, body: CreateTool) -> Any:
    """Make a tool from source, or bring the one of the same name to it."""
    return reply(await _stored(parts, body))


@router.get("/count", response_model=int)
async def count_tools(parts: Parts, wanted: Wanted) -> Any:
    return reply(await parts.database.read(tools.count, wanted))


@router.post("/search", response_model=list[ToolSearchResult])
async def search_tools(parts: Parts, body: ToolSearch) -> Any:
    """Tools by words in their names, tags and descriptions, best first. `hybrid` is the same as `fts` for now."""
    if body.search_mode == "vector":
        raise NotBuilt("Vector search over tools is not built yet: use search_mode 'fts' or 'hybrid'")
    found = await parts.database.read(
        tool_search.search,
        body.query or "",
        tool_types=body.tool_types or (),
        tags=body.tags or (),
        limit=body.limit,
    )
    return reply(found)


@router.post("/run", response_model=ToolRunAnswer)
async def run_tool_from_source(parts: Parts, body: ToolRunFromSource) -> Any:
    """Run source once, in the sandbox, without storing it."""
    tool = _unstored(body)
    tool.json_schema = await parts.custom.schema(tool, body.name)
    tool.name = tool.json_schema["name"]
    done = await parts.custom.execute(tool, body.args, ToolEnvironment(secrets=body.env_vars or {}))
    return reply(_answer(tool.name, done))


@router.post("/generate-schema", response_model=JsonObject)
async def generate_schema(parts: Parts, body: ToolSource) -> Any:
    """The JSON Schema a tool of this source would have."""
    return reply(await parts.custom.schema(Tool(id="", source_code=body.code, source_type=body.source_type)))


@router.post("/generate-tool", response_model=WrittenTool)
async def generate_tool(parts: Parts, body: ToolWish) -> Any:
    """Let a model write a tool. It is neither stored nor called."""
    resolved = parts.registry.resolve(body.handle or parts.registry.default_handle())
    order = Order(body.tool_name, body.prompt, body.starter_code, body.validation_errors)
    written = await write_tool(resolved, parts.custom, order)
    return reply(WrittenTool(tool=written.tool, sample_args=written.sample_args, response=written.said))


@router.post("/add-base-tools", response_model=list[Tool])
async def add_base_tools(parts: Parts) -> Any:
    """Bring the built-in tools to this version's, those that are missing included. Answers them by name."""
    return reply(await parts.database.write(_install))


@router.get("/{tool_id}", response_model=Tool)
async def retrieve_tool(parts: Parts, tool_id: ToolId) -> Any:
    return reply(await parts.database.read(tools.get, tool_id))


@router.patch("/{tool_id}", response_model=Tool)
async def update_tool(parts: Parts, tool_id: ToolId, body: ToolChanges) -> Any:
    """Change a tool. Where its source changes, its name and schema follow."""
    tool, changes = await parts.database.read(_wanted, tool_id, body)
    if not changes:
        return reply(tool)
    if tool.tool_type == ToolType.CUSTOM and changes.keys() & _CODE:
        changes |= await _from_source(parts, tool, changes)
    changed = await parts.database.write(tools.change, tool_id, changes)
    parts.custom.prepare(changed)
    return reply(changed)


@router.get("/{tool_id}/environment", response_model=ToolPackages)
async def retrieve_tool_environment(parts: Parts, tool_id: ToolId) -> Any:
    """How far the installation of the packages a tool needs is."""
    tool = await parts.database.read(tools.get, tool_id)
    return reply({kind: asdict(state) for kind, state in parts.custom.states(tool).items()})


@router.delete("/{tool_id}", response_model=None)
async def delete_tool(parts: Parts, tool_id: ToolId) -> Any:
    """Delete a tool. Those of an MCP server come back when it is refreshed, as long as it has them."""
    await parts.database.write(_remove, tool_id)
    return reply(None)


def _install(connection: Connection) -> list[Tool]:
    builtin.install(connection)
    return sorted(tools.named(connection, list(builtin.BY_NAME)), key=lambda tool: tool.name or "")


async def _stored(parts: Server, body: CreateTool) -> Tool:
    """Derive what follows from the source, and store the tool under its name."""
    values = body.model_dump(mode="json")
    schema = await parts.custom.schema(
        Tool(id="", **{name: values[name] for name in _CODE - {"name"} | {"description"}})
    )
    values |= {"name": schema["name"], "json_schema": schema, "tool_type": ToolType.CUSTOM}
    values["description"] = body.description or schema.get("description") or ""
    values["tags"] = body.tags or []
    made: Tool = await parts.database.write(_put, values)
    parts.custom.prepare(made)
    return made


def _put(connection: Connection, values: dict[str, Any]) -> Tool:
    for known in tools.named(connection, [values["name"]]):
        if known.tool_type != ToolType.CUSTOM:
            raise Conflict(f"name: {known.name} is a {known.tool_type} tool; give the function another name")
    return tools.put(connection, values)


def _unstored(body: ToolRunFromSource) -> Tool:
    """A tool that is run once."""
    given = body.model_dump(mode="json", include={"args_json_schema", "pip_requirements", "npm_requirements"})
    source_type, schema = body.source_type or "python", body.json_schema or None
    return Tool(id="", source_code=body.source_code, source_type=source_type, json_schema=schema, **given)


def _answer(name: str | None, done: Execution) -> ToolRunAnswer:
    return ToolRunAnswer(
        status="success" if done.ok else "error",
        func_return=done.value if done.ok else done.text,
        stdout=list(done.stdout),
        stderr=list(done.stderr),
        sandbox_config_fingerprint=done.fingerprint or None,
        id=new_id("message"),
        date=now(),
        name=name,
        tool_return=done.text,
    )


async def _from_source(parts: Server, tool: Tool, changes: dict[str, Any]) -> dict[str, Any]:
    """What follows from the tool's code with these changes: its schema, and so its name."""
    after = tool.model_copy(update=changes)
    if changes.keys() & {"source_code", "source_type", "args_json_schema"} and "json_schema" not in changes:
        after = after.model_copy(update={"json_schema": None})
    if "description" not in changes:
        after = after.model_copy(update={"description": None})
    schema = await parts.custom.schema(after)
    if "name" in changes and changes["name"] != schema["name"]:
        raise InvalidRequest(f"name: it follows from the source, which says {schema['name']!r}")
    follows: dict[str, Any] = {"name": schema["name"], "json_schema": schema}
    if "description" not in changes and "source_code" in changes:
        follows["description"] = schema.get("description") or tool.description
    return follows


def _wanted(connection: Connection, tool_id: str, body: ToolChanges) -> tuple[Tool, dict[str, Any]]:
    """The tool, and what of the changes would change it."""
    tool = tools.get(connection, tool_id)
    asked = body.model_dump(mode="json", include=body.model_fields_set)
    changes = {name: value for name, value in asked.items() if value != getattr(tool, name)}
    if tool.tool_type == ToolType.CUSTOM:
        if "source_code" in changes and not changes["source_code"]:
            raise InvalidRequest("source_code: a tool cannot be without it")
    elif refused := sorted(changes.keys() - _FREE):
        raise InvalidRequest(
            f"{', '.join(refused)}: {tool.name} is a {tool.tool_type} tool, only {', '.join(sorted(_FREE))} can change"
        )
    if changes.get("tags", "") is None:
        changes["tags"] = []
    return tool, changes


def _remove(connection: Connection, tool_id: str) -> None:
    tool = tools.get(connection, tool_id)
    if tool.tool_type in _OURS:
        raise InvalidRequest(f"{tool.name} is a {tool.tool_type} tool and cannot be deleted; detach it from agents")
    tools.remove(connection, tool_id)
