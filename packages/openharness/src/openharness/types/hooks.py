"""Hooks: commands run around tool calls and at the end of a run. Pure data."""

from datetime import datetime
from enum import Enum
from typing import Any

from pydantic import BaseModel, Field

from openharness.types.common import HookId


class HookType(str, Enum):
    """When a hook runs."""

    PRE_TOOL = "pre_tool"
    POST_TOOL = "post_tool"
    STOP = "stop"
    CUSTOM = "custom"


class Hook(BaseModel):
    """A registered hook."""

    id: HookId
    type: HookType
    name: str
    command: str
    enabled: bool = True
    config: dict[str, Any] = Field(default_factory=dict)
    created_at: datetime


class CreateHookRequest(BaseModel):
    """What a new hook is made from."""

    type: HookType
    name: str
    command: str
    config: dict[str, Any] = Field(default_factory=dict)
