"""Tools, as they cross the wire. Knows nothing of how a tool is found, checked or run."""

from enum import StrEnum
from typing import Any, ClassVar, Literal

from pydantic import AliasChoices, Field

from letta.schemas.common import Body, JsonObject, Patch, Size, Wire
from letta.schemas.variables import Variables

DEFAULT_RETURN_CHAR_LIMIT = 50_000
"""Characters of a tool's return that reach the model when nothing else was said."""


class ToolType(StrEnum):
    """Where a tool comes from and so who runs it."""

    CUSTOM = "custom"
    LETTA_CORE = "letta_core"
    LETTA_MEMORY_CORE = "letta_memory_core"
    LETTA_MULTI_AGENT_CORE = "letta_multi_agent_core"
    LETTA_SLEEPTIME_CORE = "letta_sleeptime_core"
    LETTA_VOICE_SLEEPTIME_CORE = "letta_voice_sleeptime_core"
    LETTA_BUILTIN = "letta_builtin"
    LETTA_FILES_CORE = "letta_files_core"
    EXTERNAL_LANGCHAIN = "external_langchain"
    EXTERNAL_COMPOSIO = "external_composio"
    EXTERNAL_MCP = "external_mcp"


class PipRequirement(Wire):
    """A Python package a tool needs; no version means any."""

    name: str = Field(min_length=1)
    version: str | None = None


class NpmRequirement(Wire):
    """An npm package a tool needs; no version means any."""

    name: str = Field(min_length=1)
    version: str | None = None


class Tool(Wire):
    """A tool. Its metadata is called `metadata_` on the wire.

    `idempotent` says that a call may be made again when nobody knows whether it was carried out (a crash).
    """

    id: str
    name: str | None = None
    tool_type: ToolType = ToolType.CUSTOM
    description: str | None = None
    source_type: str | None = None
    source_code: str | None = None
    json_schema: JsonObject | None = None
    args_json_schema: JsonObject | None = None
    tags: list[str] | None = Field(default_factory=list)
    return_char_limit: int | None = DEFAULT_RETURN_CHAR_LIMIT
    pip_requirements: list[PipRequirement] | None = None
    npm_requirements: list[NpmRequirement] | None = None
    default_requires_approval: bool | None = None
    enable_parallel_execution: bool | None = False
    idempotent: bool | None = None
    project_id: str | None = None
    metadata_: JsonObject | None = None
    created_by_id: str | None = None
    last_updated_by_id: str | None = None


class CreateTool(Body):
    """A tool to make from source. Its name and schema come from the source where `json_schema` is absent."""

    never_null: ClassVar[frozenset[str]] = frozenset({"return_char_limit", "source_type"})

    source_code: str
    source_type: str = "python"
    description: str | None = None
    json_schema: JsonObject | None = None
    args_json_schema: JsonObject | None = None
    tags: list[str] | None = None
    return_char_limit: Size = DEFAULT_RETURN_CHAR_LIMIT
    pip_requirements: list[PipRequirement] | None = None
    npm_requirements: list[NpmRequirement] | None = None
    default_requires_approval: bool | None = None
    enable_parallel_execution: bool | None = None
    idempotent: bool | None = None
    metadata_: JsonObject | None = Field(default=None, validation_alias=AliasChoices("metadata_", "metadata"))


class UpdateTool(Patch):
    """Changes to a tool. Null clears, except for what a tool always has."""

    never_null: ClassVar[frozenset[str]] = frozenset({"return_char_limit", "source_type"})

    source_code: str | None = None
    source_type: str | None = None
    description: str | None = None
    json_schema: JsonObject | None = None
    args_json_schema: JsonObject | None = None
    tags: list[str] | None = None
    return_char_limit: Size | None = None
    pip_requirements: list[PipRequirement] | None = None
    npm_requirements: list[NpmRequirement] | None = None
    default_requires_approval: bool | None = None
    enable_parallel_execution: bool | None = None
    idempotent: bool | None = None
    metadata_: JsonObject | None = Field(default=None, validation_alias=AliasChoices("metadata_", "metadata"))


class ToolSearch(Body):
    """A search over tools; without a query the newest tools that pass the filters."""

    never_null: ClassVar[frozenset[str]] = frozenset({"search_mode", "limit"})

    query: str | None = None
    search_mode: Literal["vector", "fts", "hybrid"] = "hybrid"
    tool_types: list[str] | None = None
    tags: list[str] | None = None
    limit: int = Field(default=50, ge=1, le=100)


class ToolSearchResult(Wire):
    """A tool found. Ranks count from 1; a higher `combined_score` is a better match."""

    tool: Tool
    combined_score: float
    embedded_text: str | None = None
    fts_rank: int | None = None
    vector_rank: int | None = None


class ToolRun(Body):
    """Arguments to run a tool with."""

    never_null: ClassVar[frozenset[str]] = frozenset({"args"})

    args: JsonObject = Field(default_factory=dict)


class ToolRunFromSource(Body):
    """A tool to run once without storing it. `name` picks the function where the source has several."""

    never_null: ClassVar[frozenset[str]] = frozenset({"args"})

    source_code: str
    args: JsonObject = Field(default_factory=dict)
    env_vars: Variables | None = None
    name: str | None = None
    source_type: str | None = None
    json_schema: JsonObject | None = None
    args_json_schema: JsonObject | None = None
    pip_requirements: list[PipRequirement] | None = None
    npm_requirements: list[NpmRequirement] | None = None


class ToolApproval(Body):
    """Whether a human approves each call. The TypeScript SDK sends the field under its method's parameter name."""

    requires_approval: bool = Field(validation_alias=AliasChoices("requires_approval", "body_requires_approval"))


class ToolExecutionResult(Wire):
    """What a run of a tool gave. `agent_state` is always null: a tool cannot hand back an agent."""

    status: Literal["success", "error"]
    func_return: Any = None
    stdout: list[str] | None = None
    stderr: list[str] | None = None
    agent_state: None = None
    sandbox_config_fingerprint: str | None = None
