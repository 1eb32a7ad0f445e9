"""MCP servers connected to a harness, and what they offer. Pure data."""

from datetime import datetime
from enum import Enum
from typing import Any

from pydantic import BaseModel, Field

from openharness.types.common import McpServerId, Tool


class McpServerStatus(str, Enum):
    """The state of the connection."""

    CONNECTED = "connected"
    DISCONNECTED = "disconnected"
    ERROR = "error"
    CONNECTING = "connecting"


class McpServer(BaseModel):
    """A server started by a command and spoken to over its standard streams."""

    id: McpServerId
    name: str
    command: str
    args: list[str] = Field(default_factory=list)
    env: dict[str, str] = Field(default_factory=dict)
    status: McpServerStatus = McpServerStatus.DISCONNECTED
    tools: list[Tool] = Field(default_factory=list)
    connected_at: datetime | None = None


class ConnectMcpRequest(BaseModel):
    """Which command to start as an MCP server."""

    name: str
    command: str
    args: list[str] = Field(default_factory=list)
    env: dict[str, str] = Field(default_factory=dict)


class McpResource(BaseModel):
    """Something an MCP server lets clients read."""

    uri: str
    name: str
    description: str | None = None
    mime_type: str | None = None


class McpPrompt(BaseModel):
    """A prompt template of an MCP server; each argument is a mapping as the server describes it."""

    name: str
    description: str | None = None
    arguments: list[dict[str, Any]] = Field(default_factory=list)
