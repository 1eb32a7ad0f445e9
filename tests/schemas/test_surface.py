"""Every answer of ours is valid for the newest official client in its strict mode, full and minimal."""

import json
from importlib import import_module
from typing import Any, get_args, get_origin

import letta_client.types as sdk
import pytest
from letta_client._models import BaseModel as ClientModel
from letta_client._models import validate_type
from letta_client.types import agent_state, conversations, folders, provider_trace, runs, steps
from letta_client.types import agents as sdk_agents
from letta_client.types.agent_state import Identity as ClientIdentity
from letta_client.types.agents import passage_search_response
from letta_client.types.passage_search_response import PassageSearchResponseItem
from pydantic import BaseModel
from tests.schemas.sampling import Samples, minimal, variants

from letta.schemas.agents import AgentSecret, AgentState, FileBlock, ImportedAgents, Memory
from letta.schemas.archives import Archive
from letta.schemas.blocks import Block
from letta.schemas.compaction import CompactionResponse, CompactionSettings
from letta.schemas.conversations import Conversation
from letta.schemas.files import AgentFile, FileMetadata
from letta.schemas.folders import Folder, Source
from letta.schemas.groups import Group
from letta.schemas.health import Health
from letta.schemas.identities import Identity, IdentityProperty
from letta.schemas.llm_config import EmbeddingConfig, LLMConfig
from letta.schemas.mcp_servers import SseMcpServer, StdioMcpServer, StreamableHttpMcpServer
from letta.schemas.model_settings import (
    AnthropicModelSettings,
    AzureModelSettings,
    BasetenModelSettings,
    BedrockModelSettings,
    ChatGPTOAuthModelSettings,
    DeepseekModelSettings,
    GoogleAIModelSettings,
    GoogleVertexModelSettings,
    GroqModelSettings,
    MoonshotCodingModelSettings,
    MoonshotModelSettings,
    OpenAIModelSettings,
    OpenRouterModelSettings,
    OtherModelSettings,
    SGLangModelSettings,
    TogetherModelSettings,
    XAIModelSettings,
    ZaiModelSettings,
)
from letta.schemas.models import EmbeddingModel, Model
from letta.schemas.passages import ArchivalResult, ArchivalSearchResponse, Passage, PassageSearchItem
from letta.schemas.response_format import JsonObjectResponseFormat, JsonSchemaResponseFormat, TextResponseFormat
from letta.schemas.runs import RequestConfig, Run, RunUsage
from letta.schemas.steps import BillingContext, ProviderTrace, Step, StepMetrics
from letta.schemas.tool_rules import (
    ChildToolRule,
    ConditionalToolRule,
    ContinueToolRule,
    InitToolRule,
    MaxCountPerStepToolRule,
    ParentToolRule,
    RequiredBeforeExitToolRule,
    RequiresApprovalToolRule,
    TerminalToolRule,
)
from letta.schemas.tools import NpmRequirement, PipRequirement, Tool, ToolExecutionResult, ToolSearchResult

PENDING_APPROVAL = {
    "id": "message-1",
    "date": "2026-01-31T12:30:00+00:00",
    "message_type": "approval_request_message",
    "tool_call": {"name": "send_mail", "arguments": "{}", "tool_call_id": "call-1"},
}

# What cannot be made up from the annotation alone.
GIVEN: Samples = {
    (AgentState, "pending_approval"): [PENDING_APPROVAL],
    (Step, "messages"): [[{"id": "message-1", "role": "user", "content": [{"type": "text", "text": "hi"}]}]],
    (IdentityProperty, "value"): ["blue"],
    (IdentityProperty, "type"): ["string"],
    (OtherModelSettings, "provider_type"): [None],
}

ANSWERS: list[tuple[type[BaseModel], Any]] = [
    (AgentState, sdk.AgentState),
    (AgentSecret, sdk.AgentEnvironmentVariable),
    (Memory, agent_state.Memory),
    (FileBlock, agent_state.MemoryFileBlock),
    (ImportedAgents, sdk.AgentImportFileResponse),
    (CompactionSettings, agent_state.CompactionSettings),
    (CompactionResponse, conversations.CompactionResponse),
    (Block, sdk.BlockResponse),
    (Tool, sdk.Tool),
    (ToolSearchResult, sdk.ToolSearchResult),
    (ToolExecutionResult, sdk_agents.ToolExecutionResult),
    (PipRequirement, sdk.PipRequirement),
    (NpmRequirement, sdk.NpmRequirement),
    (InitToolRule, sdk.InitToolRule),
    (ChildToolRule, sdk.ChildToolRule),
    (ParentToolRule, sdk.ParentToolRule),
    (ConditionalToolRule, sdk.ConditionalToolRule),
    (ContinueToolRule, sdk.ContinueToolRule),
    (TerminalToolRule, sdk.TerminalToolRule),
    (RequiredBeforeExitToolRule, sdk.RequiredBeforeExitToolRule),
    (MaxCountPerStepToolRule, sdk.MaxCountPerStepToolRule),
    (RequiresApprovalToolRule, sdk.RequiresApprovalToolRule),
    (OpenAIModelSettings, sdk.OpenAIModelSettings),
    (SGLangModelSettings, agent_state.ModelSettingsSgLangModelSettings),
    (AnthropicModelSettings, sdk.AnthropicModelSettings),
    (MoonshotCodingModelSettings, agent_state.ModelSettingsMoonshotCodingModelSettings),
    (GoogleAIModelSettings, sdk.GoogleAIModelSettings),
    (GoogleVertexModelSettings, sdk.GoogleVertexModelSettings),
    (ZaiModelSettings, agent_state.ModelSettingsZaiModelSettings),
    (MoonshotModelSettings, agent_state.ModelSettingsMoonshotModelSettings),
    (AzureModelSettings, sdk.AzureModelSettings),
    (BedrockModelSettings, sdk.BedrockModelSettings),
    (DeepseekModelSettings, sdk.DeepseekModelSettings),
    (GroqModelSettings, sdk.GroqModelSettings),
    (OpenRouterModelSettings, agent_state.ModelSettingsOpenRouterModelSettings),
    (TogetherModelSettings, sdk.TogetherModelSettings),
    (XAIModelSettings, sdk.XaiModelSettings),
    (BasetenModelSettings, agent_state.ModelSettingsBasetenModelSettings),
    (ChatGPTOAuthModelSettings, agent_state.ModelSettingsChatGptoAuthModelSettings),
    (TextResponseFormat, sdk.TextResponseFormat),
    (JsonObjectResponseFormat, sdk.JsonObjectResponseFormat),
    (JsonSchemaResponseFormat, sdk.JsonSchemaResponseFormat),
    (LLMConfig, sdk.LlmConfig),
    (EmbeddingConfig, sdk.EmbeddingConfig),
    (Model, sdk.Model),
    (EmbeddingModel, sdk.EmbeddingModel),
    (Identity, ClientIdentity),
    (IdentityProperty, agent_state.IdentityProperty),
    (Group, agent_state.ManagedGroup),
    (Conversation, sdk.Conversation),
    (Run, sdk_agents.Run),
    (RequestConfig, sdk_agents.run.RequestConfig),
    (RunUsage, runs.UsageRetrieveResponse),
    (Step, sdk.Step),
    (StepMetrics, steps.MetricRetrieveResponse),
    (ProviderTrace, sdk.ProviderTrace),
    (BillingContext, provider_trace.BillingContext),
    (Archive, sdk.Archive),
    (Passage, sdk.Passage),
    (PassageSearchItem, PassageSearchResponseItem),
    (ArchivalSearchResponse, sdk_agents.PassageSearchResponse),
    (ArchivalResult, passage_search_response.Result),
    (Folder, sdk.Folder),
    (Source, sdk_agents.FolderListResponse),
    (FileMetadata, folders.FileRetrieveResponse),
    (AgentFile, sdk_agents.FileListResponse),
    (StdioMcpServer, sdk.StdioMcpServer),
    (SseMcpServer, sdk.SseMcpServer),
    (StreamableHttpMcpServer, sdk.StreamableHTTPMcpServer),
    (Health, sdk.HealthResponse),
]
each_answer = pytest.mark.parametrize(("ours", "theirs"), ANSWERS, ids=[ours.__name__ for ours, _ in ANSWERS])


def wire(answer: BaseModel) -> dict[str, Any]:
    """The answer as a client gets it."""
    sent: dict[str, Any] = json.loads(answer.model_dump_json())
    return sent


def wire_names(theirs: type[ClientModel]) -> dict[str, bool]:
    """The client's names of fields on the wire, and whether its type requires them."""
    return {field.alias or name: field.is_required() for name, field in theirs.model_fields.items()}


@each_answer
def test_full_answer_of_every_alternative_is_valid_for_the_client(ours: type[BaseModel], theirs: Any) -> None:
    for answer in variants(ours, GIVEN):
        validate_type(type_=theirs, value=wire(answer))


@each_answer
def test_minimal_answer_is_valid_and_has_every_field_the_client_knows(ours: type[BaseModel], theirs: Any) -> None:
    sent = wire(minimal(ours, GIVEN))

    validate_type(type_=theirs, value=sent)
    assert set(wire_names(theirs)) - set(sent) == set()


@each_answer
def test_field_the_client_requires_is_never_null(ours: type[BaseModel], theirs: Any) -> None:
    required = {name for name, needed in wire_names(theirs).items() if needed}

    for answer in [minimal(ours, GIVEN), *variants(ours, GIVEN)]:
        assert {name for name in required if wire(answer)[name] is None} == set()


def test_every_tool_rule_and_model_setting_reaches_the_client_as_its_own_type() -> None:
    for answer in variants(AgentState, GIVEN):
        read = validate_type(type_=sdk.AgentState, value=wire(answer))
        sent_rules = [rule.type for rule in answer.tool_rules or []]  # type: ignore[attr-defined]
        assert [rule.type for rule in read.tool_rules or []] == sent_rules
        read_settings = read.model_dump(mode="json", by_alias=True, exclude_unset=True)["model_settings"]
        assert read_settings == wire(answer)["model_settings"]


def test_enumerations_of_the_client_hold_no_value_we_cannot_say() -> None:
    missing = {
        f"{ours.__name__}.{name}": lost
        for ours, theirs in ANSWERS
        for name, lost in _unsayable(ours, theirs).items()
        if lost
    }

    assert missing == {}


def _unsayable(ours: type[BaseModel], theirs: type[ClientModel]) -> dict[str, set[Any]]:
    said = [wire(answer) for answer in [minimal(ours, GIVEN), *variants(ours, GIVEN)]]
    allowed = {field.alias or name: _literals(field.annotation) for name, field in theirs.model_fields.items()}
    return {
        name: values - {answer[name] for answer in said if isinstance(answer[name], str)}
        for name, values in allowed.items()
        if (ours, name) not in GIVEN
    }


def _literals(annotation: Any) -> set[Any]:
    """The values of an enumeration directly in this annotation; of nested types nothing."""
    from_here = {value for value in get_args(annotation) if isinstance(value, str)}
    unions = [kind for kind in get_args(annotation) if get_origin(kind) is not list]
    return from_here.union(*(_literals(kind) for kind in unions))


# What the types of SDK 0.1.324 require of nouns that the newest client does not have.
OLDER_ANSWERS: dict[str, set[str]] = {
    "providers.Provider": {"name", "provider_type", "provider_category"},
    "groups.Group": {"id", "manager_type", "agent_ids", "description"},
    "identities.Identity": {"identifier_key", "name", "identity_type", "agent_ids", "block_ids"},
    "mcp_servers.NamedStdioServer": {"server_name", "command", "args"},
    "mcp_servers.NamedSseServer": {"server_name", "server_url"},
    "mcp_servers.NamedStreamableHttpServer": {"server_name", "server_url"},
    "mcp_servers.McpTool": {"name", "inputSchema"},
    "files.AgentFilesPage": {"files", "has_more"},
    "files.FolderStats": {"source_id", "source_name"},
    "agents.AgentSearchResponse": {"agents"},
    "agents.ContextWindowOverview": {
        "context_window_size_max",
        "context_window_size_current",
        "num_messages",
        "num_archival_memory",
        "num_recall_memory",
        "num_tokens_external_memory_summary",
        "external_memory_summary",
        "num_tokens_system",
        "system_prompt",
        "num_tokens_core_memory",
        "core_memory",
        "num_tokens_summary_memory",
        "num_tokens_functions_definitions",
        "num_tokens_messages",
        "messages",
    },
}


@pytest.mark.parametrize("path", OLDER_ANSWERS)
def test_minimal_answer_has_what_sdk_0_1_requires(path: str) -> None:
    module, _, name = path.partition(".")
    ours: type[BaseModel] = getattr(import_module(f"letta.schemas.{module}"), name)

    sent = wire(minimal(ours, GIVEN))

    assert {field for field in OLDER_ANSWERS[path] if sent.get(field) is None} == set()
