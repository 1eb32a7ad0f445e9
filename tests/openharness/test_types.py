"""The types are the contract: names, fields, defaults and aliases."""

import importlib
import typing
from datetime import UTC, datetime
from enum import Enum
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticUndefined

import openharness
import openharness.types
from openharness.types import (
    Agent,
    ArtifactEvent,
    ExecuteRequest,
    ExecutionEvent,
    PaginatedResponse,
    ProgressEvent,
    ToolStreamEvent,
    UpdateAgentRequest,
)

NOW = datetime(2026, 1, 2, tzinfo=UTC)

# name -> its fields: `!` marks required ones, `=` gives a default, a bare name defaults to None.
MODELS = {
    "PaginationParams": "limit=20 offset=0",
    "PaginatedResponse": "data! total! limit! offset! has_more!",
    "DomainCapability": "supported! operations=[] notes",
    "CapabilityInfo": "id! supported! notes",
    "CapabilityManifest": "harness_id! version! capabilities!",
    "Harness": "id! name! vendor! description! execution_type! status! capabilities! created_at! updated_at!",
    "Tool": "id! name! description! source! input_schema! mcp_server_id",
    "ErrorResponse": "error! code! message! details",
    "UsageStats": "input_tokens! output_tokens! total_tokens! duration_ms",
    "ModelConfig": "provider name embedding",
    "Agent": "id! name! vendor_key agent_key version slug description author license tags=[] system_prompt model"
    " state=active tools=[] metadata={} created_at! updated_at!",
    "CreateAgentRequest": "name! vendor_key agent_key version slug description author license tags=[] system_prompt"
    " model tools=[] metadata={}",
    "UpdateAgentRequest": "name vendor_key agent_key version slug description author license tags system_prompt model"
    " state tools metadata",
    "ExportAgentRequest": "include_memory=False include_versions=False contents_mode=bundled",
    "ImportAgentRequest": "rename_to merge_strategy=fail",
    "ImportAgentResponse": "agent! warnings=[]",
    "ExportMemoryRequest": "include_archive=True",
    "ImportMemoryRequest": "merge_strategy=overwrite",
    "ImportMemoryResponse": "blocks_imported! archive_entries_imported! conflicts=0 warnings=[]",
    "Skill": "id! name! description! version! status=active source! tools=[] metadata={} installed_at!",
    "InstallSkillRequest": "source! version config={}",
    "McpServer": "id! name! command! args=[] env={} status=disconnected tools=[] connected_at",
    "ConnectMcpRequest": "name! command! args=[] env={}",
    "McpResource": "uri! name! description mime_type",
    "McpPrompt": "name! description arguments=[]",
    "ExecuteRequest": "message! agent_id session_id system_prompt tools model max_tokens temperature metadata={}",
    "Execution": "id! status! message! response agent_id session_id usage tool_calls=[] created_at! completed_at",
    "ToolCall": "id! name! input! output error duration_ms",
    "Session": "id! name agent_id status=active system_prompt message_count=0 metadata={} created_at! updated_at!",
    "CreateSessionRequest": "name agent_id system_prompt metadata={}",
    "Message": "id! role! content! tool_calls=[] created_at!",
    "MemoryBlock": "id! type! label! content! read_only=False metadata={} created_at! updated_at!",
    "CreateMemoryBlockRequest": "type! label! content! read_only=False metadata={}",
    "UpdateMemoryBlockRequest": "content label metadata",
    "ArchiveEntry": "id! content! embedding metadata={} created_at!",
    "Subagent": "id! type! prompt! status=pending result error parent_id created_at! completed_at",
    "SpawnSubagentRequest": "type! prompt! config={}",
    "FileInfo": "path! name! size! is_directory! mime_type modified_at",
    "ReadFileRequest": "path! offset limit",
    "WriteFileRequest": "path! content! create_directories=False",
    "SearchFilesRequest": "pattern! path max_results=100",
    "Hook": "id! type! name! command! enabled=True config={} created_at!",
    "CreateHookRequest": "type! name! command! config={}",
    "Todo": "id! content! status=pending priority=0 metadata={} created_at! updated_at!",
    "CreateTodoRequest": "content! priority=0 metadata={}",
    "UpdateTodoRequest": "content status priority metadata",
    "ModelInfo": "id! name! provider! description context_window max_output_tokens supports_vision=False"
    " supports_tools=False supports_streaming=True",
    "TextEvent": "type=text content!",
    "ThinkingEvent": "type=thinking thinking!",
    "ToolCallStartEvent": "type=tool_call_start id! name! input={}",
    "ToolCallDeltaEvent": "type=tool_call_delta id! input_delta!",
    "ToolCallEndEvent": "type=tool_call_end id!",
    "ToolResultEvent": "type=tool_result id! success! output error",
    "ProgressEvent": "type=progress percentage! step step_number total_steps",
    "ErrorEvent": "type=error code! message! recoverable=False",
    "DoneEvent": "type=done usage",
    "ArtifactEvent": "type=artifact id! name! content_type! content!",
    "ToolStreamStartEvent": "type=tool_stream_start tool_id! tool_name!",
    "ToolStreamDataEvent": "type=tool_stream_data tool_id! data!",
    "ToolStreamEndEvent": "type=tool_stream_end tool_id! success! error",
}

ENUMS = {
    "ExecutionType": "hosted sdk ide",
    "HarnessStatus": "active beta coming_soon maintenance deprecated",
    "AgentState": "active paused archived",
    "PackageContentsMode": "bundled referenced",
    "MemoryMergeStrategy": "overwrite skip merge",
    "SkillStatus": "active disabled error",
    "McpServerStatus": "connected disconnected error connecting",
    "ExecutionStatus": "pending running completed failed cancelled",
    "SessionStatus": "active archived",
    "MemoryBlockType": "core archival working custom",
    "SubagentStatus": "pending running completed failed cancelled",
    "HookType": "pre_tool post_tool stop custom",
    "TodoStatus": "pending in_progress completed",
}

IDS = """
HarnessId AgentId SkillId SessionId ExecutionId ToolId McpServerId MemoryBlockId SubagentId HookId TodoId
"""
ONLY_IN_TYPES = """
ExportAgentRequest ExportMemoryRequest ImportAgentRequest ImportAgentResponse ImportMemoryRequest ImportMemoryResponse
MemoryMergeStrategy ModelConfig PackageContentsMode
"""
OUTSIDE_TYPES = """
OpenHarnessClient AdapterCapabilities AdapterExecutionResult AdapterRegistry HarnessAdapter ToolDefinition
AuthenticationError ConnectionError RateLimitError RestTransport Transport TransportError WebSocketTransport __version__
"""


def described(model: type[BaseModel]) -> str:
    """The fields of a model as the table above writes them."""

    def one(name: str, field: Any) -> str:
        if field.is_required():
            return f"{name}!"
        default = field.get_default(call_default_factory=True)
        assert default is not PydanticUndefined
        return name if default is None else f"{name}={default.value if isinstance(default, Enum) else default}"

    return " ".join(one(name, field) for name, field in model.model_fields.items())


@pytest.mark.parametrize("name", MODELS)
def test_model_has_the_fields_and_defaults_of_the_contract(name: str) -> None:
    assert described(getattr(openharness.types, name)) == MODELS[name]


@pytest.mark.parametrize("name", ENUMS)
def test_enum_has_the_values_of_the_contract(name: str) -> None:
    enum = getattr(openharness.types, name)
    assert [member.value for member in enum] == ENUMS[name].split()
    assert issubclass(enum, str)


@pytest.mark.parametrize("name", IDS.split())
def test_ids_are_annotated_strings(name: str) -> None:
    assert typing.get_args(getattr(openharness.types, name))[0] is str


def test_types_export_every_name_of_the_contract_and_no_other() -> None:
    unions = ["ExecutionEvent", "ToolStreamEvent"]
    assert sorted(openharness.types.__all__) == sorted([*MODELS, *ENUMS, *IDS.split(), *unions])
    assert len(openharness.types.__all__) == 86


def test_package_exports_every_name_of_the_contract_and_no_other() -> None:
    expected = {*openharness.types.__all__, *OUTSIDE_TYPES.split()} - {*ONLY_IN_TYPES.split()}
    assert set(openharness.__all__) == expected
    assert len(openharness.__all__) == 91
    assert all(hasattr(openharness, name) for name in openharness.__all__)
    assert openharness.__version__ == "0.1.0"


@pytest.mark.parametrize(
    "module", ["adapter", "client", "types", "types.common", "types.domains", "types.events", "transports"]
)
def test_every_public_module_is_importable(module: str) -> None:
    assert importlib.import_module(f"openharness.{module}")


def test_domain_types_are_importable_from_the_domains_module() -> None:
    domains = importlib.import_module("openharness.types.domains")
    assert all(hasattr(domains, name) for name in ["Agent", "ExecuteRequest", "MemoryBlock", "ModelInfo", "Todo"])


def test_event_unions_hold_ten_and_three_events() -> None:
    assert [event.__name__ for event in typing.get_args(ExecutionEvent)] == [
        "TextEvent",
        "ThinkingEvent",
        "ToolCallStartEvent",
        "ToolCallDeltaEvent",
        "ToolCallEndEvent",
        "ToolResultEvent",
        "ProgressEvent",
        "ErrorEvent",
        "DoneEvent",
        "ArtifactEvent",
    ]
    assert [event.__name__ for event in typing.get_args(ToolStreamEvent)] == [
        "ToolStreamStartEvent",
        "ToolStreamDataEvent",
        "ToolStreamEndEvent",
    ]


@pytest.mark.parametrize("keys", [("vendorKey", "agentKey"), ("vendor_key", "agent_key")])
def test_agent_keys_are_read_by_alias_and_by_name(keys: tuple[str, str]) -> None:
    vendor, agent = keys
    read = Agent.model_validate({"id": "a", "name": "n", vendor: "v", agent: "k", "created_at": NOW, "updated_at": NOW})
    assert (read.vendor_key, read.agent_key) == ("v", "k")
    assert UpdateAgentRequest.model_validate({vendor: "v"}).model_dump(exclude_none=True) == {"vendor_key": "v"}


@pytest.mark.parametrize("temperature", [-0.1, 1.1])
def test_temperature_outside_zero_to_one_is_refused(temperature: float) -> None:
    with pytest.raises(ValidationError, match="temperature"):
        ExecuteRequest(message="hi", temperature=temperature)


@pytest.mark.parametrize("percentage", [-1.0, 100.5])
def test_progress_outside_zero_to_hundred_is_refused(percentage: float) -> None:
    with pytest.raises(ValidationError, match="percentage"):
        ProgressEvent(percentage=percentage)


def test_page_validates_its_items() -> None:
    page = PaginatedResponse[ArtifactEvent].model_validate(
        {
            "data": [{"id": "a", "name": "n", "content_type": "text/plain", "content": "x"}],
            "total": 1,
            "limit": 20,
            "offset": 0,
            "has_more": False,
        }
    )
    assert page.data == [ArtifactEvent(id="a", name="n", content_type="text/plain", content="x")]
