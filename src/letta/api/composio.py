"""Tools of Composio: `/v1/tools/composio`, as clients of the 0.1 generation call it."""

from typing import Annotated, Any

from fastapi import Path
from pydantic import Field
from sqlalchemy import Connection

from letta.api import routes
from letta.api.context import Parts, reply
from letta.errors import Conflict
from letta.schemas.common import JsonObject, Wire
from letta.schemas.tools import DEFAULT_RETURN_CHAR_LIMIT, Tool, ToolType
from letta.store import tools

router = routes.router(prefix="/v1/tools/composio", tags=["tools"])

# It becomes a part of a URL at Composio.
_SLUG = "^[A-Za-z0-9_-]{1,200}$"
ActionName = Annotated[str, Path(pattern=_SLUG, description="Name of an action, `GITHUB_CREATE_AN_ISSUE`")]
AppName = Annotated[str, Path(pattern=_SLUG, description="Name of an app, `github`")]


class ComposioApp(Wire):
    """A service that Composio has tools for. `key` is its name in paths."""

    name: str
    key: str
    app_id: str = Field(alias="appId")
    description: str = ""
    categories: list[str] = Field(default_factory=list)
    meta: JsonObject = Field(default_factory=dict)
    logo: str | None = None
    docs: str | None = None
    no_auth: bool | None = None
    enabled: bool = True


class ComposioSchema(Wire):
    """The JSON Schema of what an action takes or returns."""

    title: str
    type: str = "object"
    properties: JsonObject = Field(default_factory=dict)
    required: list[str] | None = None


class ComposioAction(Wire):
    """A tool of a service. `name` is what `POST /v1/tools/composio/{name}` takes."""

    name: str
    display_name: str | None = None
    description: str = ""
    parameters: ComposioSchema
    response: ComposioSchema
    app_name: str = Field(alias="appName")
    app_id: str = Field(alias="appId")
    version: str = ""
    available_versions: list[str] = Field(default_factory=list)
    tags: list[str] = Field(default_factory=list)
    logo: str | None = None
    enabled: bool = True


@router.get("/apps", response_model=list[ComposioApp])
async def list_composio_apps(parts: Parts) -> Any:
    """The services there are tools for. Needs COMPOSIO_API_KEY in the environment of the server."""
    return reply([_app(item) for item in await parts.composio.apps()])


@router.get("/apps/{composio_app_name}/actions", response_model=list[ComposioAction])
async def list_composio_actions(parts: Parts, composio_app_name: AppName) -> Any:
    """The actions of a service; none when Composio does not know it."""
    found = await parts.composio.actions(composio_app_name)
    return reply([_action(item, composio_app_name) for item in found])


@router.post("/{composio_action_name}", response_model=Tool)
async def add_composio_tool(parts: Parts, composio_action_name: ActionName) -> Any:
    """Make a tool of an action, or bring the one there is to Composio's newest version."""
    row = await parts.composio.tool(composio_action_name)
    return reply(await parts.database.write(_stored, row))


def _stored(connection: Connection, row: dict[str, Any]) -> Tool:
    known = tools.named(connection, [row["name"]])
    if not known:
        return tools.put(connection, {**row, "return_char_limit": DEFAULT_RETURN_CHAR_LIMIT})
    if known[0].tool_type != ToolType.EXTERNAL_COMPOSIO:
        raise Conflict(f"there is a {known[0].tool_type} tool called {row['name']!r} already")
    return tools.put(connection, row)


def _app(item: JsonObject) -> ComposioApp:
    slug, meta = item["slug"], _object(item.get("meta"))
    kinds = [kind.get("name") for kind in meta.get("categories") or () if isinstance(kind, dict)]
    return ComposioApp(
        name=str(item.get("name") or slug),
        key=slug,
        app_id=str(_object(item.get("deprecated")).get("toolkitId") or slug),
        description=str(meta.get("description") or ""),
        categories=[str(kind) for kind in kinds if kind],
        meta=meta,
        logo=_text(meta.get("logo")),
        docs=_text(meta.get("app_url")),
        no_auth=bool(item.get("no_auth")),
    )


def _action(item: JsonObject, app: str) -> ComposioAction:
    slug, toolkit = item["slug"], _object(item.get("toolkit"))
    home = str(toolkit.get("slug") or app)
    return ComposioAction(
        name=slug,
        display_name=_text(item.get("name")),
        description=str(item.get("description") or ""),
        parameters=_schema(item.get("input_parameters"), f"{slug}Request"),
        response=_schema(item.get("output_parameters"), f"{slug}Response"),
        app_name=home,
        app_id=home,
        version=str(item.get("version") or ""),
        available_versions=[str(version) for version in item.get("available_versions") or ()],
        tags=[str(tag) for tag in item.get("tags") or ()],
        logo=_text(toolkit.get("logo")),
        enabled=not item.get("is_deprecated"),
    )


def _schema(given: Any, title: str) -> ComposioSchema:
    schema = _object(given)
    return ComposioSchema(
        title=str(schema.get("title") or title),
        properties=_object(schema.get("properties")),
        required=[str(name) for name in schema.get("required") or ()],
    )


def _object(value: Any) -> JsonObject:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
