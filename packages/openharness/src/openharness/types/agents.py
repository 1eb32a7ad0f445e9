"""Agents, and carrying them between harnesses as packages. Pure data."""

from datetime import datetime
from enum import Enum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from openharness.types.common import AgentId


class AgentState(str, Enum):
    """Whether an agent takes work."""

    ACTIVE = "active"
    PAUSED = "paused"
    ARCHIVED = "archived"


class ModelConfig(BaseModel):
    """A model named by its parts."""

    provider: str | None = None
    name: str | None = None
    embedding: str | None = None


class Agent(BaseModel):
    """An agent. `vendor_key` and `agent_key` are read from `vendorKey` and `agentKey`, too."""

    model_config = ConfigDict(populate_by_name=True)

    id: AgentId
    name: str
    vendor_key: str | None = Field(default=None, alias="vendorKey")
    agent_key: str | None = Field(default=None, alias="agentKey")
    version: str | None = None
    slug: str | None = None
    description: str | None = None
    author: str | None = None
    license: str | None = None
    tags: list[str] = Field(default_factory=list)
    system_prompt: str | None = None
    model: str | ModelConfig | None = None
    state: AgentState = AgentState.ACTIVE
    tools: list[str] = Field(default_factory=list)
    metadata: dict[str, Any] = Field(default_factory=dict)
    created_at: datetime
    updated_at: datetime


class CreateAgentRequest(BaseModel):
    """What a new agent is made from."""

    model_config = ConfigDict(populate_by_name=True)

    name: str
    vendor_key: str | None = Field(default=None, alias="vendorKey")
    agent_key: str | None = Field(default=None, alias="agentKey")
    version: str | None = None
    slug: str | None = None
    description: str | None = None
    author: str | None = None
    license: str | None = None
    tags: list[str] = Field(default_factory=list)
    system_prompt: str | None = None
    model: str | ModelConfig | None = None
    tools: list[str] = Field(default_factory=list)
    metadata: dict[str, Any] = Field(default_factory=dict)


class UpdateAgentRequest(BaseModel):
    """Changes to an agent; a field that is `None` keeps its value."""

    model_config = ConfigDict(populate_by_name=True)

    name: str | None = None
    vendor_key: str | None = Field(default=None, alias="vendorKey")
    agent_key: str | None = Field(default=None, alias="agentKey")
    version: str | None = None
    slug: str | None = None
    description: str | None = None
    author: str | None = None
    license: str | None = None
    tags: list[str] | None = None
    system_prompt: str | None = None
    model: str | ModelConfig | None = None
    state: AgentState | None = None
    tools: list[str] | None = None
    metadata: dict[str, Any] | None = None


class PackageContentsMode(str, Enum):
    """Whether a package carries its skills or only names them."""

    BUNDLED = "bundled"
    REFERENCED = "referenced"


class ExportAgentRequest(BaseModel):
    """What an exported agent package holds beside the agent."""

    include_memory: bool = False
    include_versions: bool = False
    contents_mode: PackageContentsMode = PackageContentsMode.BUNDLED


class ImportAgentRequest(BaseModel):
    """How a package is taken in. `merge_strategy` is `fail`, `overwrite` or `skip`."""

    rename_to: str | None = None
    merge_strategy: str = "fail"


class ImportAgentResponse(BaseModel):
    """The imported agent, and what did not come along."""

    agent: Agent
    warnings: list[str] = Field(default_factory=list)
