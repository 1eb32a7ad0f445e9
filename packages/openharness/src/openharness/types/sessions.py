"""Sessions: message threads of an agent. Pure data."""

from datetime import datetime
from enum import Enum
from typing import Any

from pydantic import BaseModel, Field

from openharness.types.common import AgentId, SessionId
from openharness.types.execution import ToolCall


class SessionStatus(str, Enum):
    """Whether a session takes messages."""

    ACTIVE = "active"
    ARCHIVED = "archived"


class Session(BaseModel):
    """A message thread with an agent."""

    id: SessionId
    name: str | None = None
    agent_id: AgentId | None = None
    status: SessionStatus = SessionStatus.ACTIVE
    system_prompt: str | None = None
    message_count: int = 0
    metadata: dict[str, Any] = Field(default_factory=dict)
    created_at: datetime
    updated_at: datetime


class CreateSessionRequest(BaseModel):
    """What a new session is made from."""

    name: str | None = None
    agent_id: AgentId | None = None
    system_prompt: str | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)


class Message(BaseModel):
    """One message of a session; `role` is `user`, `assistant` or `system`."""

    id: str
    role: str
    content: str
    tool_calls: list[ToolCall] = Field(default_factory=list)
    created_at: datetime
