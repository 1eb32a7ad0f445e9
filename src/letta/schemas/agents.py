"""Agents, as they cross the wire: the state, and the bodies that make, change and look for agents.

Knows the fields and their older names. Knows nothing of defaults that depend on the agent's type, of model handles,
or of storage.
"""

from enum import StrEnum
from typing import Annotated, ClassVar, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, AliasChoices, Field, model_validator

from letta.schemas.blocks import Block, CreateBlock
from letta.schemas.common import UNLESS_SET, Body, Count, JsonObject, Patch, Size, Timestamp, Wire
from letta.schemas.compaction import CompactionSettings
from letta.schemas.folders import Source
from letta.schemas.groups import Group
from letta.schemas.identities import Identity
from letta.schemas.llm_config import EmbeddingConfig, LLMConfig
from letta.schemas.model_settings import ModelSettings
from letta.schemas.response_format import ResponseFormat
from letta.schemas.runs import StopReason
from letta.schemas.sends import BusyPolicy, MessageInput
from letta.schemas.tool_rules import ToolRule
from letta.schemas.tools import Tool
from letta.schemas.variables import Variables


class AgentType(StrEnum):
    """How an agent works: its loop, its default tools and its prompt."""

    MEMGPT_AGENT = "memgpt_agent"
    MEMGPT_V2_AGENT = "memgpt_v2_agent"
    LETTA_V1_AGENT = "letta_v1_agent"
    REACT_AGENT = "react_agent"
    WORKFLOW_AGENT = "workflow_agent"
    SPLIT_THREAD_AGENT = "split_thread_agent"
    SLEEPTIME_AGENT = "sleeptime_agent"
    VOICE_CONVO_AGENT = "voice_convo_agent"
    VOICE_SLEEPTIME_AGENT = "voice_sleeptime_agent"


class AgentInclude(StrEnum):
    """The relations a reader may ask for."""

    BLOCKS = "agent.blocks"
    IDENTITIES = "agent.identities"
    MANAGED_GROUP = "agent.managed_group"
    PENDING_APPROVAL = "agent.pending_approval"
    SECRETS = "agent.secrets"
    SOURCES = "agent.sources"
    TAGS = "agent.tags"
    TOOLS = "agent.tools"


class AgentOrderBy(StrEnum):
    """What a list of agents is sorted by."""

    CREATED_AT = "created_at"
    UPDATED_AT = "updated_at"
    LAST_RUN_COMPLETION = "last_run_completion"


class AgentSecret(Wire):
    """A secret of an agent, which its tools see as an environment variable."""

    agent_id: str
    key: str
    value: str
    id: str | None = None
    description: str | None = None
    value_enc: str | None = None
    created_at: Timestamp | None = None
    updated_at: Timestamp | None = None
    created_by_id: str | None = None
    last_updated_by_id: str | None = None


class FileBlock(Block):
    """A file the agent has opened, shown as a block. `source_id` is the folder's id."""

    id: str | None = None  # type: ignore[assignment]  # it is a view of a file, not a stored block
    file_id: str
    source_id: str
    is_open: bool
    last_accessed_at: Timestamp | None = None


class Memory(Wire):
    """The memory of an agent in its older place: the same blocks as in `AgentState.blocks`."""

    blocks: list[Block]
    file_blocks: list[FileBlock] | None = Field(default_factory=list)
    agent_type: AgentType | None = None
    git_enabled: bool | None = False
    prompt_template: str | None = ""


class AgentState(Wire):
    """An agent. Relations that were not asked for are empty, never absent.

    `model` and `embedding` are handles; `llm_config` and `embedding_config` say the same in the older long form.
    `secrets` and `tool_exec_environment_variables` are the same list. `pending_approval` is the request message in
    its wire form. `multi_agent_group` is the older name of `managed_group`. `busy_policy` is an own field, shown where
    it is set.
    """

    id: str
    name: str
    agent_type: AgentType
    system: str
    llm_config: LLMConfig
    memory: Memory
    blocks: list[Block] = Field(default_factory=list)
    tools: list[Tool] = Field(default_factory=list)
    sources: list[Source] = Field(default_factory=list)
    tags: list[str] = Field(default_factory=list)
    model: str | None = None
    embedding: str | None = None
    embedding_config: EmbeddingConfig | None = None
    model_settings: ModelSettings | None = None
    compaction_settings: CompactionSettings | None = None
    response_format: ResponseFormat | None = None
    description: str | None = None
    metadata: JsonObject | None = None
    message_ids: list[str] | None = None
    tool_rules: list[ToolRule] | None = None
    secrets: list[AgentSecret] | None = Field(default_factory=list)
    tool_exec_environment_variables: list[AgentSecret] | None = Field(default_factory=list)
    identities: list[Identity] | None = Field(default_factory=list)
    identity_ids: list[str] | None = Field(default_factory=list)
    managed_group: Group | None = None
    multi_agent_group: Group | None = None
    pending_approval: JsonObject | None = None
    message_buffer_autoclear: bool = False
    enable_sleeptime: bool | None = None
    timezone: str | None = None
    max_files_open: int | None = None
    per_file_view_window_char_limit: int | None = None
    hidden: bool | None = None
    last_run_completion: Timestamp | None = None
    last_run_duration_ms: int | None = None
    last_stop_reason: StopReason | None = None
    busy_policy: BusyPolicy | None = UNLESS_SET
    project_id: str | None = None
    template_id: str | None = None
    base_template_id: str | None = None
    deployment_id: str | None = None
    entity_id: str | None = None
    created_at: Timestamp | None = None
    updated_at: Timestamp | None = None
    created_by_id: str | None = None
    last_updated_by_id: str | None = None


def _known_timezone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(f"{name!r} is not an IANA time zone such as 'Europe/Vienna'") from error
    return name


TimezoneName = Annotated[str, AfterValidator(_known_timezone)]


class _AgentFields(Body):
    """What can be said about an agent both when it is made and later; `busy_policy` is an own field.

    `llm` is another name of `model`, and `tool_exec_environment_variables` of `secrets`; the newer name wins. Where
    only the long form of a model is given, its handle is taken from there.
    """

    model: str | None = Field(default=None, validation_alias=AliasChoices("model", "llm"))
    embedding: str | None = None
    llm_config: LLMConfig | None = None
    embedding_config: EmbeddingConfig | None = None
    model_settings: ModelSettings | None = None
    compaction_settings: CompactionSettings | None = None
    response_format: ResponseFormat | None = None
    context_window_limit: Size | None = None
    max_tokens: Size | None = None
    reasoning: bool | None = None
    parallel_tool_calls: bool | None = None
    description: str | None = None
    metadata: JsonObject | None = None
    system: str | None = None
    tags: list[str] | None = None
    block_ids: list[str] | None = None
    tool_ids: list[str] | None = None
    source_ids: list[str] | None = None
    folder_ids: list[str] | None = None
    identity_ids: list[str] | None = None
    tool_rules: list[ToolRule] | None = None
    secrets: Variables | None = Field(
        default=None, validation_alias=AliasChoices("secrets", "tool_exec_environment_variables")
    )
    enable_sleeptime: bool | None = None
    timezone: TimezoneName | None = None
    max_files_open: Size | None = None
    per_file_view_window_char_limit: Size | None = None
    hidden: bool | None = None
    busy_policy: BusyPolicy | None = None
    project_id: str | None = None
    template_id: str | None = None
    base_template_id: str | None = None

    @model_validator(mode="after")
    def _handles_from_long_forms(self) -> "_AgentFields":
        if self.model is None and self.llm_config is not None:
            self.model = self.llm_config.wire_handle
        if self.embedding is None and self.embedding_config is not None:
            self.embedding = self.embedding_config.wire_handle
        return self


class CreateAgent(_AgentFields):
    """An agent to make. Only a model is needed; what is None is decided by the server.

    `tools` are names, `memory_blocks` are made, `block_ids` attached; `memory_variables` fill `{{name}}` in values.
    """

    never_null: ClassVar[frozenset[str]] = frozenset(
        {
            "agent_type",
            "include_base_tools",
            "include_multi_agent_tools",
            "include_default_source",
            "message_buffer_autoclear",
            "template",
        }
    )

    name: str | None = None
    agent_type: AgentType = AgentType.LETTA_V1_AGENT
    memory_blocks: list[CreateBlock] | None = None
    memory_variables: dict[str, str] | None = None
    tools: list[str] | None = None
    include_base_tools: bool = True
    include_multi_agent_tools: bool = False
    include_base_tool_rules: bool | None = None
    include_default_source: bool = False
    initial_message_sequence: list[MessageInput] | None = None
    message_buffer_autoclear: bool = False
    embedding_chunk_size: Size | None = None
    enable_reasoner: bool | None = None
    max_reasoning_tokens: Count | None = None
    from_template: str | None = None
    template: bool = False
    project: str | None = None


class UpdateAgent(Patch, _AgentFields):
    """Changes to an agent. Null clears, except for what an agent always has."""

    never_null: ClassVar[frozenset[str]] = frozenset(
        {
            "name", "system", "tags", "block_ids", "tool_ids", "source_ids", "folder_ids", "identity_ids",
            "tool_rules", "secrets", "tool_exec_environment_variables", "message_ids", "message_buffer_autoclear",
            "model", "llm", "llm_config", "timezone", "enable_sleeptime", "context_window_limit",
        }
    )  # fmt: skip

    name: str | None = None
    message_ids: list[str] | None = None
    message_buffer_autoclear: bool | None = None
    last_run_completion: Timestamp | None = None
    last_run_duration_ms: Count | None = None
    last_stop_reason: StopReason | None = None


class AgentSearchTerm(Wire):
    """One condition: `tags` contain, `name` compares or contains, the others compare."""

    field: Literal["version", "name", "tags", "identity", "templateName"]
    value: str | list[str]
    operator: Literal["eq", "contains"] = "eq"


class AgentSearch(Body):
    """A search over agents; all conditions must hold. `after` is the `nextCursor` of the page before."""

    never_null: ClassVar[frozenset[str]] = frozenset({"search", "combinator", "limit", "sort_by", "ascending"})

    search: list[AgentSearchTerm] = Field(default_factory=list)
    combinator: Literal["AND"] = "AND"
    limit: int = Field(default=50, ge=1, le=1000)
    after: str | None = None
    sort_by: Literal["created_at", "last_run_completion"] = "created_at"
    ascending: bool = False
    project_id: str | None = None


class AgentSearchResponse(Wire):
    """A page of agents found; `nextCursor` is null on the last one."""

    agents: list[AgentState]
    nextCursor: str | None = None  # noqa: N815  # the name on the wire


class ImportedAgents(Wire):
    """The ids of the agents an agent file made."""

    agent_ids: list[str]


class ContextWindowBlock(Wire):
    """A memory block in a context window: the tokens of its value, and when the model last saw it as it is now.

    `last_seen_step_id` is the newest step of the conversation whose prompt held it, `last_seen_at` when that began;
    both are null for a block that was written or attached since.
    """

    label: str
    tokens: int
    last_seen_at: Timestamp | None = None
    last_seen_step_id: str | None = None


class ContextWindowOverview(Wire):
    """What fills an agent's context window. The `num_tokens_` fields and the window's sizes are tokens.

    `functions_definitions` are the tools as a model is told of them, `messages` the messages in the window; `blocks` is
    an extension.
    """

    context_window_size_max: int
    context_window_size_current: int
    num_messages: int
    num_archival_memory: int
    num_recall_memory: int
    num_tokens_external_memory_summary: int
    external_memory_summary: str
    num_tokens_system: int
    system_prompt: str
    num_tokens_core_memory: int
    core_memory: str
    num_tokens_memory_filesystem: int = 0
    memory_filesystem: str | None = None
    num_tokens_tool_usage_rules: int = 0
    tool_usage_rules: str | None = None
    num_tokens_directories: int = 0
    directories: str | None = None
    num_tokens_summary_memory: int
    summary_memory: str | None = None
    num_tokens_functions_definitions: int
    functions_definitions: list[JsonObject] | None = None
    num_tokens_messages: int
    messages: list[JsonObject]
    blocks: list[ContextWindowBlock] = Field(default_factory=list)
