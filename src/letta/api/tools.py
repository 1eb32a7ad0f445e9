"""Tools: `/v1/tools`."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from sqlalchemy import Connection

from letta.api.context import Page, Parts, ToolId, paging, reply
from letta.errors import InvalidRequest, NotBuilt
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
from letta.store.tools import ToolFilter
from letta.tools import builtin

router = APIRouter(prefix="/v1/tools", tags=["tools"])

Texts = Annotated[list[str] | None, Query()]
Types = Annotated[list[ToolType] | None, Query()]
Tools = Annotated[Page, Depends(paging())]

_OURS = tuple(kind.value for kind in ToolType if kind.startswith("letta_"))
# What any tool may be given; the rest is its code and what follows from it.
_FREE = {"description", "tags", "return_char_limit", "default_requires_approval", "metadata_"}


class ToolChanges(UpdateTool):
    """Changes to a tool. A name follows from the source: it is read here only to be refused by name."""

    name: str | None = None


def _filter(
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
    raise NotBuilt("Custom tools (source_code) are not built yet: this version has the built-in tools only")


@router.put("", response_model=Tool)
async def upsert_tool(parts: Parts, body: CreateTool) -> Any:
    raise NotBuilt("Custom tools (source_code) are not built yet: this version has the built-in tools only")


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


@router.post("/run", response_model=ToolExecutionResult)
async def run_tool_from_source(parts: Parts, body: ToolRunFromSource) -> Any:
    raise NotBuilt("Running tools from source is not built yet")


@router.post("/add-base-tools", response_model=list[Tool])
async def add_base_tools(parts: Parts) -> Any:
    """Bring the built-in tools to this version's, those that are missing included. Answers them by name."""
    return reply(await parts.database.write(_install))


@router.get("/{tool_id}", response_model=Tool)
async def retrieve_tool(parts: Parts, tool_id: ToolId) -> Any:
    return reply(await parts.database.read(tools.get, tool_id))


@router.patch("/{tool_id}", response_model=Tool)
async def update_tool(parts: Parts, tool_id: ToolId, body: ToolChanges) -> Any:
    return reply(await parts.database.write(_change, tool_id, body))


@router.delete("/{tool_id}", response_model=None)
async def delete_tool(parts: Parts, tool_id: ToolId) -> Any:
    await parts.database.write(_remove, tool_id)
    return reply(None)


def _install(connection: Connection) -> list[Tool]:
    builtin.install(connection)
    return sorted(tools.named(connection, list(builtin.BY_NAME)), key=lambda tool: tool.name or "")


def _change(connection: Connection, tool_id: str, body: ToolChanges) -> Tool:
    tool = tools.get(connection, tool_id)
    asked = body.model_dump(mode="json", include=body.model_fields_set)
    changes = {name: value for name, value in asked.items() if value != getattr(tool, name)}
    refused = sorted(changes.keys() - _FREE)
    if refused and tool.tool_type == ToolType.CUSTOM:
        raise NotBuilt(f"{', '.join(refused)}: the code of custom tools cannot be changed yet")
    if refused:
        raise InvalidRequest(
            f"{', '.join(refused)}: {tool.name} is a {tool.tool_type} tool, only {', '.join(sorted(_FREE))} can change"
        )
    if changes.get("tags", "") is None:
        changes["tags"] = []
    return tools.change(connection, tool_id, changes) if changes else tool


def _remove(connection: Connection, tool_id: str) -> None:
    tool = tools.get(connection, tool_id)
    if tool.tool_type != ToolType.CUSTOM:
        raise InvalidRequest(f"{tool.name} is a {tool.tool_type} tool and cannot be deleted; detach it from agents")
    tools.remove(connection, tool_id)
