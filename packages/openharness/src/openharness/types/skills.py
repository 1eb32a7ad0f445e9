"""Skills: instructions and tools installed into a harness. Pure data."""

from datetime import datetime
from enum import Enum
from typing import Any

from pydantic import BaseModel, Field

from openharness.types.common import SkillId, Tool


class SkillStatus(str, Enum):
    """Whether a skill can be used."""

    ACTIVE = "active"
    DISABLED = "disabled"
    ERROR = "error"


class Skill(BaseModel):
    """An installed skill; `source` says where it came from."""

    id: SkillId
    name: str
    description: str
    version: str
    status: SkillStatus = SkillStatus.ACTIVE
    source: str
    tools: list[Tool] = Field(default_factory=list)
    metadata: dict[str, Any] = Field(default_factory=dict)
    installed_at: datetime


class InstallSkillRequest(BaseModel):
    """Which skill to install."""

    source: str
    version: str | None = None
    config: dict[str, Any] = Field(default_factory=dict)
