"""Every field the newest official client can put into a body is read by ours, under the name it has on the wire."""

from typing import Any, Required, get_args, get_origin, get_type_hints

import letta_client.types as sdk
import pytest
from letta_client._utils import PropertyInfo
from letta_client.types import agents, archives, conversations, mcp_servers, runs, steps
from pydantic import AliasChoices, BaseModel, TypeAdapter

from letta.schemas.agents import CreateAgent, UpdateAgent
from letta.schemas.archives import CreateArchive, UpdateArchive
from letta.schemas.blocks import CreateBlock, UpdateBlock
from letta.schemas.compaction import Compact, CompactionSettings
from letta.schemas.conversations import CreateConversation, RecompileConversation, UpdateConversation
from letta.schemas.folders import CreateFolder, UpdateFolder
from letta.schemas.mcp_servers import (
    CreateMcpServer,
    SseChanges,
    SseConfig,
    StdioChanges,
    StdioConfig,
    StreamableHttpChanges,
    StreamableHttpConfig,
    UpdateMcpServer,
)
from letta.schemas.passages import CreatePassage, CreatePassages, PassageSearch
from letta.schemas.runs import CancelRuns, FollowStream
from letta.schemas.schedules import CreateSchedule
from letta.schemas.steps import StepFeedback
from letta.schemas.tools import CreateTool, ToolApproval, ToolRun, ToolSearch, UpdateTool

# Ours, the client's parameters, and those of them that travel in the path or query.
BODIES: list[tuple[type[BaseModel], Any, set[str]]] = [
    (CreateAgent, sdk.AgentCreateParams, set()),
    (UpdateAgent, sdk.AgentUpdateParams, set()),
    (CreateBlock, sdk.BlockCreateParams, set()),
    (CreateBlock, sdk.CreateBlockParam, set()),
    (UpdateBlock, sdk.BlockUpdateParams, set()),
    (UpdateBlock, agents.BlockUpdateParams, {"agent_id"}),
    (CreateTool, sdk.ToolCreateParams, set()),
    (CreateTool, sdk.ToolUpsertParams, set()),
    (UpdateTool, sdk.ToolUpdateParams, set()),
    (ToolSearch, sdk.ToolSearchParams, set()),
    (ToolRun, agents.ToolRunParams, {"agent_id"}),
    (ToolRun, mcp_servers.ToolRunParams, {"mcp_server_id"}),
    (ToolApproval, agents.ToolUpdateApprovalParams, {"agent_id"}),
    (CreateArchive, sdk.ArchiveCreateParams, set()),
    (UpdateArchive, sdk.ArchiveUpdateParams, set()),
    (CreatePassage, archives.PassageCreateParams, set()),
    (CreatePassage, agents.PassageCreateParams, set()),
    (CreatePassages, archives.PassageCreateManyParams, set()),
    (PassageSearch, sdk.PassageSearchParams, set()),
    (CreateFolder, sdk.FolderCreateParams, set()),
    (UpdateFolder, sdk.FolderUpdateParams, set()),
    (CreateConversation, sdk.ConversationCreateParams, {"agent_id"}),
    (UpdateConversation, sdk.ConversationUpdateParams, set()),
    (RecompileConversation, sdk.ConversationRecompileParams, {"dry_run"}),
    (Compact, conversations.MessageCompactParams, set()),
    (Compact, agents.MessageCompactParams, set()),
    (CompactionSettings, agents.message_compact_params.CompactionSettings, set()),
    (FollowStream, conversations.MessageStreamParams, set()),
    (FollowStream, runs.MessageStreamParams, set()),
    (CancelRuns, agents.MessageCancelParams, set()),
    (CreateSchedule, agents.ScheduleCreateParams, set()),
    (StepFeedback, steps.FeedbackCreateParams, set()),
    (CreateMcpServer, sdk.McpServerCreateParams, set()),
    (UpdateMcpServer, sdk.McpServerUpdateParams, set()),
    (StdioConfig, sdk.CreateStdioMcpServerParam, set()),
    (SseConfig, sdk.CreateSseMcpServerParam, set()),
    (StreamableHttpConfig, sdk.create_streamable_http_mcp_server_param.CreateStreamableHTTPMcpServerParam, set()),
    (StdioChanges, sdk.UpdateStdioMcpServerParam, set()),
    (SseChanges, sdk.UpdateSseMcpServerParam, set()),
    (StreamableHttpChanges, sdk.update_streamable_http_mcp_server_param.UpdateStreamableHTTPMcpServerParam, set()),
]
each_body = pytest.mark.parametrize(
    ("ours", "theirs", "elsewhere"), BODIES, ids=[f"{ours.__name__}-{theirs.__module__}" for ours, theirs, _ in BODIES]
)


def names_sent(theirs: Any) -> set[str]:
    """The names the client's parameters have on the wire."""
    hints = get_type_hints(theirs, include_extras=True)
    return {_alias(hint) or name for name, hint in hints.items()}


def names_always_sent(theirs: Any) -> set[str]:
    """The names of the parameters the client cannot leave out."""
    hints = get_type_hints(theirs, include_extras=True)
    return {_alias(hint) or name for name, hint in hints.items() if get_origin(hint) is Required}


def _alias(hint: Any) -> str | None:
    own = [found.alias for found in getattr(hint, "__metadata__", ()) if isinstance(found, PropertyInfo)]
    inner = [_alias(kind) for kind in get_args(hint) if hasattr(kind, "__metadata__")]
    return next((name for name in [*own, *inner] if name), None)


def names_read(ours: type[BaseModel]) -> set[str]:
    """The names our body reads."""
    names = set(ours.model_fields)
    for field in ours.model_fields.values():
        if isinstance(field.validation_alias, AliasChoices):
            names |= {name for name in field.validation_alias.choices if isinstance(name, str)}
    return names


@each_body
def test_every_field_of_the_client_is_read(ours: type[BaseModel], theirs: Any, elsewhere: set[str]) -> None:
    assert names_sent(theirs) - elsewhere - names_read(ours) == set()


@each_body
def test_only_what_the_client_must_send_is_required(ours: type[BaseModel], theirs: Any, elsewhere: set[str]) -> None:
    required = {name for name, field in ours.model_fields.items() if field.is_required()}

    assert required <= names_always_sent(theirs)


@each_body
def test_body_can_be_described_in_openapi(ours: type[BaseModel], theirs: Any, elsewhere: set[str]) -> None:
    assert TypeAdapter(ours).json_schema()["type"] == "object"
