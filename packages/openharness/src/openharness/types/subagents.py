"""Subagents: work handed to another agent. Pure data."""

from datetime import datetime
from enum import Enum
from typing import Any

from pydantic import BaseModel, Field

from openharness.types.common import SubagentId


class SubagentStatus(str, Enum):
    """How far a subagent has come."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Subagent(BaseModel):
    """A subagent and, once it has ended, its result or error."""

    id: SubagentId
    type: str
    prompt: str
    status: SubagentStatus = SubagentStatus.PENDING
    result: Any | None = None
    error: str | None = None
    parent_id: SubagentId | None = None
    created_at: datetime
    completed_at: datetime | None = None


class SpawnSubagentRequest(BaseModel):
    """The work a new subagent gets."""

    type: str
    prompt: str
    config: dict[str, Any] = Field(default_factory=dict)
