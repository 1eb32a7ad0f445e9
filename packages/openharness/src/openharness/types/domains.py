"""Every domain's types under one module name."""

from openharness.types.agents import (
    Agent,
    AgentState,
    CreateAgentRequest,
    ExportAgentRequest,
    ImportAgentRequest,
    ImportAgentResponse,
    ModelConfig,
    PackageContentsMode,
    UpdateAgentRequest,
)
from openharness.types.execution import (
    ExecuteRequest,
    Execution,
    ExecutionStatus,
    ToolCall,
)
from openharness.types.files import (
    FileInfo,
    ReadFileRequest,
    SearchFilesRequest,
    WriteFileRequest,
)
from openharness.types.hooks import (
    CreateHookRequest,
    Hook,
    HookType,
)
from openharness.types.mcp import (
    ConnectMcpRequest,
    McpPrompt,
    McpResource,
    McpServer,
    McpServerStatus,
)
from openharness.types.memory import (
    ArchiveEntry,
    CreateMemoryBlockRequest,
    ExportMemoryRequest,
    ImportMemoryRequest,
    ImportMemoryResponse,
    MemoryBlock,
    MemoryBlockType,
    MemoryMergeStrategy,
    UpdateMemoryBlockRequest,
)
from openharness.types.models import (
    ModelInfo,
)
from openharness.types.planning import (
    CreateTodoRequest,
    Todo,
    TodoStatus,
    UpdateTodoRequest,
)
from openharness.types.sessions import (
    CreateSessionRequest,
    Message,
    Session,
    SessionStatus,
)
from openharness.types.skills import (
    InstallSkillRequest,
    Skill,
    SkillStatus,
)
from openharness.types.subagents import (
    SpawnSubagentRequest,
    Subagent,
    SubagentStatus,
)

__all__ = [
    "Agent",
    "AgentState",
    "ArchiveEntry",
    "ConnectMcpRequest",
    "CreateAgentRequest",
    "CreateHookRequest",
    "CreateMemoryBlockRequest",
    "CreateSessionRequest",
    "CreateTodoRequest",
    "ExecuteRequest",
    "Execution",
    "ExecutionStatus",
    "ExportAgentRequest",
    "ExportMemoryRequest",
    "FileInfo",
    "Hook",
    "HookType",
    "ImportAgentRequest",
    "ImportAgentResponse",
    "ImportMemoryRequest",
    "ImportMemoryResponse",
    "InstallSkillRequest",
    "McpPrompt",
    "McpResource",
    "McpServer",
    "McpServerStatus",
    "MemoryBlock",
    "MemoryBlockType",
    "MemoryMergeStrategy",
    "Message",
    "ModelConfig",
    "ModelInfo",
    "PackageContentsMode",
    "ReadFileRequest",
    "SearchFilesRequest",
    "Session",
    "SessionStatus",
    "Skill",
    "SkillStatus",
    "SpawnSubagentRequest",
    "Subagent",
    "SubagentStatus",
    "Todo",
    "TodoStatus",
    "ToolCall",
    "UpdateAgentRequest",
    "UpdateMemoryBlockRequest",
    "UpdateTodoRequest",
    "WriteFileRequest",
]
