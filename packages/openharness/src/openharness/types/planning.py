"""Todos: the plan an agent works on. Pure data."""

from datetime import datetime
from enum import Enum
from typing import Any

from pydantic import BaseModel, Field

from openharness.types.common import TodoId


class TodoStatus(str, Enum):
    """How far a todo has come."""

    PENDING = "pending"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"


class Todo(BaseModel):
    """One point of a plan; a higher `priority` comes first."""

    id: TodoId
    content: str
    status: TodoStatus = TodoStatus.PENDING
    priority: int = 0
    metadata: dict[str, Any] = Field(default_factory=dict)
    created_at: datetime
    updated_at: datetime


class CreateTodoRequest(BaseModel):
    """What a new todo is made from."""

    content: str
    priority: int = 0
    metadata: dict[str, Any] = Field(default_factory=dict)


class UpdateTodoRequest(BaseModel):
    """Changes to a todo; a field that is `None` keeps its value."""

    content: str | None = None
    status: TodoStatus | None = None
    priority: int | None = None
    metadata: dict[str, Any] | None = None
