"""Types every domain shares: ids, pages, capabilities, tools, errors and usage.

Pure data. Knows nothing of transports, adapters or of the domains built on it.
"""

from datetime import datetime
from enum import Enum
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, Field

HarnessId = Annotated[str, Field(description="Identifies a harness, for example `letta`")]
AgentId = Annotated[str, Field(description="Identifies an agent")]
SkillId = Annotated[str, Field(description="Identifies an installed skill")]
SessionId = Annotated[str, Field(description="Identifies a session")]
ExecutionId = Annotated[str, Field(description="Identifies an execution")]
ToolId = Annotated[str, Field(description="Identifies a tool")]
McpServerId = Annotated[str, Field(description="Identifies a connected MCP server")]
MemoryBlockId = Annotated[str, Field(description="Identifies a memory block")]
SubagentId = Annotated[str, Field(description="Identifies a subagent")]
HookId = Annotated[str, Field(description="Identifies a hook")]
TodoId = Annotated[str, Field(description="Identifies a todo")]

T = TypeVar("T")


class ExecutionType(str, Enum):
    """Where a harness runs its agents."""

    HOSTED = "hosted"
    SDK = "sdk"
    IDE = "ide"


class HarnessStatus(str, Enum):
    """How far a harness has come."""

    ACTIVE = "active"
    BETA = "beta"
    COMING_SOON = "coming_soon"
    MAINTENANCE = "maintenance"
    DEPRECATED = "deprecated"


class PaginationParams(BaseModel):
    """Which part of a list to answer: `limit` items (1 to 100) after skipping `offset`."""

    limit: int = Field(default=20, ge=1, le=100)
    offset: int = Field(default=0, ge=0)


class PaginatedResponse(BaseModel, Generic[T]):
    """One page of a list; `total` counts the whole list."""

    data: list[T]
    total: int
    limit: int
    offset: int
    has_more: bool


class DomainCapability(BaseModel):
    """What a harness offers in one domain."""

    supported: bool
    operations: list[str] = Field(default_factory=list)
    notes: str | None = None


class CapabilityInfo(BaseModel):
    """One operation, such as `execution.stream`, and whether it is there."""

    id: str
    supported: bool
    notes: str | None = None


class CapabilityManifest(BaseModel):
    """Every operation a harness speaks of."""

    harness_id: HarnessId
    version: str
    capabilities: list[CapabilityInfo]


class Harness(BaseModel):
    """A registered harness; `capabilities` is keyed by domain."""

    id: HarnessId
    name: str
    vendor: str
    description: str
    execution_type: ExecutionType
    status: HarnessStatus
    capabilities: dict[str, DomainCapability]
    created_at: datetime
    updated_at: datetime


class Tool(BaseModel):
    """A tool an agent can call. `source` is `builtin`, `custom` or `mcp`; `input_schema` is a JSON Schema."""

    id: ToolId
    name: str
    description: str
    source: str
    input_schema: dict[str, Any]
    mcp_server_id: McpServerId | None = None


class ErrorResponse(BaseModel):
    """The flat error body."""

    error: str
    code: str
    message: str
    details: dict[str, Any] | None = None


class UsageStats(BaseModel):
    """Tokens spent by one execution, and how long it took in milliseconds."""

    input_tokens: int
    output_tokens: int
    total_tokens: int
    duration_ms: int | None = None
