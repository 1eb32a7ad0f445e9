"""Servers of the Model Context Protocol: where they are and how to start or reach them.

Has both forms of the API: servers with ids (`/mcp-servers`), and servers by name as SDK 0.1.x sends them
(`/tools/mcp/servers`). Knows nothing of the protocol itself.
"""

from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Discriminator, Field, Tag

from letta.schemas.common import Body, JsonObject, Patch, Timestamp, Wire

HttpUrl = Annotated[str, Field(pattern=r"^https?://\S+$")]
StringMap = dict[str, str]


class McpServerType(StrEnum):
    """How a server is spoken to."""

    STDIO = "stdio"
    SSE = "sse"
    STREAMABLE_HTTP = "streamable_http"


class StdioConfig(Wire):
    """A server that is a local process."""

    mcp_server_type: Literal["stdio"] = "stdio"
    command: str = Field(min_length=1)
    args: list[str]
    env: StringMap | None = None


class _HttpConfig(Wire):
    """`auth_token` is sent in the header named `auth_header`."""

    server_url: HttpUrl
    auth_header: str | None = None
    auth_token: str | None = Field(default=None, repr=False)
    custom_headers: StringMap | None = Field(default=None, repr=False)


class SseConfig(_HttpConfig):
    """A server reached over server-sent events."""

    mcp_server_type: Literal["sse"] = "sse"


class StreamableHttpConfig(_HttpConfig):
    """A server reached over streamable HTTP."""

    mcp_server_type: Literal["streamable_http"] = "streamable_http"


def _kind_of(value: Any) -> str | None:
    """The type of a server: what it says under either name, else stdio for a command and streamable HTTP for a URL."""
    if not isinstance(value, dict):
        return getattr(value, "mcp_server_type", None) or getattr(value, "type", None)
    kind = value.get("mcp_server_type") or value.get("type")
    if kind is None and ("command" in value or "stdio_config" in value):
        return "stdio"
    return kind or "streamable_http"


McpConfig = Annotated[
    Annotated[StdioConfig, Tag("stdio")]
    | Annotated[SseConfig, Tag("sse")]
    | Annotated[StreamableHttpConfig, Tag("streamable_http")],
    Discriminator(_kind_of),
]


class McpHealth(Wire):
    """How a server is, as far as this process knows.

    `unknown`: not asked yet. `connected`: a session is open. `idle`: it answered last time. `failing`: it did not, see
    `error`; it is asked again in `retry_in` seconds at the earliest. `sign_in_needed`: a person has to sign in.
    """

    state: Literal["unknown", "connected", "idle", "failing", "sign_in_needed"] = "unknown"
    error: str | None = None
    retry_in: float | None = None
    checked_at: Timestamp | None = None
    tools: int = 0


class StdioMcpServer(StdioConfig):
    """A stored server that is a local process."""

    id: str
    server_name: str
    health: McpHealth | None = None


class SseMcpServer(SseConfig):
    """A stored server reached over server-sent events."""

    id: str
    server_name: str
    health: McpHealth | None = None


class StreamableHttpMcpServer(StreamableHttpConfig):
    """A stored server reached over streamable HTTP."""

    id: str
    server_name: str
    health: McpHealth | None = None


McpServer = Annotated[StdioMcpServer | SseMcpServer | StreamableHttpMcpServer, Field(discriminator="mcp_server_type")]


class CreateMcpServer(Body):
    """A server to add."""

    server_name: str = Field(min_length=1)
    config: McpConfig


class StdioChanges(Wire):
    """Changes to a local process; null or absent keeps the command and arguments, null clears the environment."""

    mcp_server_type: Literal["stdio"] = "stdio"
    command: str | None = Field(default=None, min_length=1)
    args: list[str] | None = None
    env: StringMap | None = None


class _HttpChanges(Wire):
    server_url: HttpUrl | None = None
    auth_header: str | None = None
    auth_token: str | None = Field(default=None, repr=False)
    custom_headers: StringMap | None = Field(default=None, repr=False)


class SseChanges(_HttpChanges):
    """Changes to a server reached over server-sent events; a null URL keeps, other nulls clear."""

    mcp_server_type: Literal["sse"] = "sse"


class StreamableHttpChanges(_HttpChanges):
    """Changes to a server reached over streamable HTTP; a null URL keeps, other nulls clear."""

    mcp_server_type: Literal["streamable_http"] = "streamable_http"


McpChanges = Annotated[
    Annotated[StdioChanges, Tag("stdio")]
    | Annotated[SseChanges, Tag("sse")]
    | Annotated[StreamableHttpChanges, Tag("streamable_http")],
    Discriminator(_kind_of),
]


class UpdateMcpServer(Patch):
    """Changes to a server."""

    never_null: ClassVar[frozenset[str]] = frozenset({"server_name", "config"})

    server_name: str | None = Field(default=None, min_length=1)
    config: McpChanges | None = None


class McpToolHealth(Wire):
    """Whether models can be offered a tool.

    `INVALID` ones are kept and not offered; `reasons` says what is wrong with the schema, or in the way of strict mode.
    """

    status: Literal["STRICT_COMPLIANT", "NON_STRICT_ONLY", "INVALID"]
    reasons: list[str] = Field(default_factory=list)


class McpTool(Wire):
    """A tool as its server describes it."""

    name: str
    title: str | None = None
    description: str | None = None
    inputSchema: JsonObject  # noqa: N815  # the protocol's own name
    outputSchema: JsonObject | None = None  # noqa: N815
    annotations: JsonObject | None = None
    meta: JsonObject | None = Field(default=None, alias="_meta")
    health: McpToolHealth | None = None


class McpRefresh(Wire):
    """The names of the tools a server has gained, changed and lost, and what is wrong with those not offered."""

    added: list[str]
    updated: list[str]
    deleted: list[str]
    quarantined: dict[str, list[str]] = Field(default_factory=dict)


class McpSignIn(Wire):
    """Where a person signs in at a server, or that nobody has to. `session_id` names the sign-in that has begun."""

    status: Literal["signed_in", "waiting", "not_needed", "failed"]
    authorization_url: str | None = None
    session_id: str | None = None
    error: str | None = None


class McpTrial(Wire):
    """What a server that was tried out has to offer."""

    status: Literal["success"] = "success"
    tools: list[McpTool]


class NamedStdioServer(Body):
    """A server that is a local process, as SDK 0.1.x sends and reads it."""

    server_name: str = Field(min_length=1)
    type: Literal["stdio"] = "stdio"
    command: str = Field(min_length=1)
    args: list[str]
    env: StringMap | None = None


class NamedSseServer(Body):
    """A server reached over server-sent events, as SDK 0.1.x sends and reads it."""

    server_name: str = Field(min_length=1)
    type: Literal["sse"] = "sse"
    server_url: HttpUrl
    auth_header: str | None = None
    auth_token: str | None = Field(default=None, repr=False)
    custom_headers: StringMap | None = Field(default=None, repr=False)


class NamedStreamableHttpServer(Body):
    """A server reached over streamable HTTP, as SDK 0.1.x sends and reads it."""

    server_name: str = Field(min_length=1)
    type: Literal["streamable_http"] = "streamable_http"
    server_url: HttpUrl
    auth_header: str | None = None
    auth_token: str | None = Field(default=None, repr=False)
    custom_headers: StringMap | None = Field(default=None, repr=False)


NamedMcpServer = Annotated[
    Annotated[NamedStdioServer, Tag("stdio")]
    | Annotated[NamedSseServer, Tag("sse")]
    | Annotated[NamedStreamableHttpServer, Tag("streamable_http")],
    Discriminator(_kind_of),
]


class UpdateNamedMcpServer(Patch):
    """Changes to a server by name, in any of the three forms of SDK 0.1.x. `token` is the older `auth_token`."""

    stdio_config: NamedStdioServer | None = None
    server_url: HttpUrl | None = None
    auth_header: str | None = None
    auth_token: str | None = Field(default=None, repr=False)
    token: str | None = Field(default=None, repr=False)
    custom_headers: StringMap | None = Field(default=None, repr=False)
