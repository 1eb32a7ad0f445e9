"""One message to an agent, and what became of it. Pure data."""

from datetime import datetime
from enum import Enum
from typing import Any

from pydantic import BaseModel, Field

from openharness.types.common import AgentId, ExecutionId, SessionId, UsageStats


class ExecutionStatus(str, Enum):
    """How far an execution has come."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class ExecuteRequest(BaseModel):
    """A message for an agent. `temperature` lies in 0 to 1; `tools` are names or ids of tools."""

    message: str
    agent_id: AgentId | None = None
    session_id: SessionId | None = None
    system_prompt: str | None = None
    tools: list[str] | None = None
    model: str | None = None
    max_tokens: int | None = None
    temperature: float | None = Field(default=None, ge=0, le=1)
    metadata: dict[str, Any] = Field(default_factory=dict)


class ToolCall(BaseModel):
    """One call of a tool: either `output` or `error` is set once it has ended."""

    id: str
    name: str
    input: dict[str, Any]
    output: Any | None = None
    error: str | None = None
    duration_ms: int | None = None


class Execution(BaseModel):
    """The record of an execution; `response` is the agent's whole text."""

    id: ExecutionId
    status: ExecutionStatus
    message: str
    response: str | None = None
    agent_id: AgentId | None = None
    session_id: SessionId | None = None
    usage: UsageStats | None = None
    tool_calls: list[ToolCall] = Field(default_factory=list)
    created_at: datetime
    completed_at: datetime | None = None
