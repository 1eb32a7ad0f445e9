"""Every method of the client, against a real server: what it sends, and what it makes of the answer."""

from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import BaseModel
from starlette.responses import JSONResponse, Response
from tests.openharness.recorder import Recorder, event_stream, recording

from openharness import OpenHarnessClient
from openharness.transports import AuthenticationError, RestTransport, TransportError
from openharness.types import (
    Agent,
    ArchiveEntry,
    CapabilityInfo,
    CapabilityManifest,
    ConnectMcpRequest,
    CreateAgentRequest,
    CreateHookRequest,
    CreateMemoryBlockRequest,
    CreateSessionRequest,
    CreateTodoRequest,
    DomainCapability,
    DoneEvent,
    ExecuteRequest,
    Execution,
    ExecutionStatus,
    ExecutionType,
    ExportAgentRequest,
    ExportMemoryRequest,
    FileInfo,
    Harness,
    HarnessStatus,
    Hook,
    HookType,
    ImportAgentRequest,
    ImportAgentResponse,
    ImportMemoryRequest,
    ImportMemoryResponse,
    InstallSkillRequest,
    McpPrompt,
    McpResource,
    McpServer,
    MemoryBlock,
    MemoryBlockType,
    MemoryMergeStrategy,
    Message,
    ModelInfo,
    PaginatedResponse,
    PaginationParams,
    Session,
    Skill,
    SpawnSubagentRequest,
    Subagent,
    TextEvent,
    Todo,
    TodoStatus,
    Tool,
    ToolCallStartEvent,
    UpdateAgentRequest,
    UpdateMemoryBlockRequest,
    UpdateTodoRequest,
    UsageStats,
)

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
PAGE = PaginationParams(limit=5, offset=10)

HARNESS = Harness(
    id="letta",
    name="Letta",
    vendor="v",
    description="d",
    execution_type=ExecutionType.HOSTED,
    status=HarnessStatus.ACTIVE,
    capabilities={"agents": DomainCapability(supported=True)},
    created_at=NOW,
    updated_at=NOW,
)
MANIFEST = CapabilityManifest(
    harness_id="letta", version="1", capabilities=[CapabilityInfo(id="execution.run", supported=True)]
)
AGENT = Agent(id="a", name="n", vendor_key="v", created_at=NOW, updated_at=NOW)
SKILL = Skill(id="s", name="n", description="d", version="1", source="registry", installed_at=NOW)
TOOL = Tool(id="t", name="n", description="d", source="mcp", input_schema={"type": "object"}, mcp_server_id="m")
SERVER = McpServer(id="m", name="n", command="c")
RESOURCE = McpResource(uri="u", name="n")
PROMPT = McpPrompt(name="n", arguments=[{"name": "x"}])
EXECUTION = Execution(id="e", status=ExecutionStatus.COMPLETED, message="hi", response="ho", created_at=NOW)
SESSION = Session(id="s", created_at=NOW, updated_at=NOW)
MESSAGE = Message(id="m", role="user", content="hi", created_at=NOW)
BLOCK = MemoryBlock(id="b", type=MemoryBlockType.CORE, label="l", content="c", created_at=NOW, updated_at=NOW)
ENTRY = ArchiveEntry(id="e", content="c", created_at=NOW)
SUBAGENT = Subagent(id="s", type="t", prompt="p", created_at=NOW)
FILE = FileInfo(path="/a/b c", name="b c", size=1, is_directory=False)
HOOK = Hook(id="h", type=HookType.STOP, name="n", command="c", created_at=NOW)
TODO = Todo(id="t", content="c", created_at=NOW, updated_at=NOW)
MODEL = ModelInfo(id="m", name="n", provider="p")


def page_of(*items: Any) -> PaginatedResponse[Any]:
    return PaginatedResponse[Any](data=list(items), total=len(items), limit=20, offset=0, has_more=False)


@dataclass
class Case:
    """A call, the request it must become, and the answer, which must come back as it is."""

    method: str
    args: tuple[Any, ...]
    request: str
    result: Any = None
    query: dict[str, str] = field(default_factory=dict)
    body: Any = None


PAGED = {"limit": "5", "offset": "10"}

CASES = [
    Case("list_harnesses", (PAGE,), "GET /harnesses", page_of(HARNESS), PAGED),
    Case("get_harness", ("a/b",), "GET /harnesses/a%2Fb", HARNESS),
    Case("get_capabilities", ("letta",), "GET /harnesses/letta/capabilities", MANIFEST),
    Case("list_agents", (), "GET /agents", page_of(AGENT)),
    Case("list_agents", (PAGE,), "GET /agents", page_of(AGENT), PAGED),
    Case("get_agent", ("a?b#c d",), "GET /agents/a%3Fb%23c%20d", AGENT),
    Case(
        "create_agent",
        (CreateAgentRequest(name="n", vendor_key="v"),),
        "POST /agents",
        AGENT,
        body={"name": "n", "vendor_key": "v", "tags": [], "tools": [], "metadata": {}},
    ),
    Case("update_agent", ("a", UpdateAgentRequest(name="n")), "PATCH /agents/a", AGENT, body={"name": "n"}),
    Case("delete_agent", ("a",), "DELETE /agents/a"),
    Case("clone_agent", ("a",), "POST /agents/a/clone", AGENT),
    Case("clone_agent", ("a", "b"), "POST /agents/a/clone", AGENT, body={"name": "b"}),
    Case("export_agent", ("a",), "GET /agents/a/export", b"PK"),
    Case(
        "export_agent",
        ("a", ExportAgentRequest(include_memory=True, include_versions=True)),
        "GET /agents/a/export",
        b"PK",
        {"include_memory": "true", "include_versions": "true", "contents_mode": "bundled"},
    ),
    Case("list_skills", (), "GET /skills", page_of(SKILL)),
    Case("get_skill", ("s",), "GET /skills/s", SKILL),
    Case(
        "install_skill", (InstallSkillRequest(source="x"),), "POST /skills", SKILL, body={"source": "x", "config": {}}
    ),
    Case("uninstall_skill", ("s",), "DELETE /skills/s"),
    Case("discover_skills", (), "GET /skills/discover", [SKILL]),
    Case("discover_skills", ("pdf",), "GET /skills/discover", [SKILL], {"q": "pdf"}),
    Case("list_tools", ("mcp", PAGE), "GET /tools", page_of(TOOL), {**PAGED, "source": "mcp"}),
    Case("get_tool", ("t",), "GET /tools/t", TOOL),
    Case("invoke_tool", ("t", {"x": 1}), "POST /tools/t/invoke", {"y": 2}, body={"input": {"x": 1}}),
    Case("list_mcp_servers", (), "GET /mcp/servers", [SERVER]),
    Case(
        "connect_mcp_server",
        (ConnectMcpRequest(name="n", command="c"),),
        "POST /mcp/servers",
        SERVER,
        body={"name": "n", "command": "c", "args": [], "env": {}},
    ),
    Case("disconnect_mcp_server", ("m",), "DELETE /mcp/servers/m"),
    Case("list_mcp_tools", ("m",), "GET /mcp/servers/m/tools", [TOOL]),
    Case("list_mcp_resources", ("m",), "GET /mcp/servers/m/resources", [RESOURCE]),
    Case("list_mcp_prompts", ("m",), "GET /mcp/servers/m/prompts", [PROMPT]),
    Case(
        "execute",
        (ExecuteRequest(message="hi", agent_id="a"),),
        "POST /execute",
        EXECUTION,
        body={"message": "hi", "agent_id": "a", "metadata": {}},
    ),
    Case("get_execution", ("e",), "GET /executions/e", EXECUTION),
    Case("cancel_execution", ("e",), "POST /executions/e/cancel"),
    Case("list_sessions", (), "GET /sessions", page_of(SESSION)),
    Case("get_session", ("s",), "GET /sessions/s", SESSION),
    Case(
        "create_session",
        (CreateSessionRequest(name="n"),),
        "POST /sessions",
        SESSION,
        body={"name": "n", "metadata": {}},
    ),
    Case("delete_session", ("s",), "DELETE /sessions/s", None, {"delete_history": "false"}),
    Case("delete_session", ("s", True), "DELETE /sessions/s", None, {"delete_history": "true"}),
    Case("get_session_history", ("s", PAGE), "GET /sessions/s/messages", page_of(MESSAGE), PAGED),
    Case("fork_session", ("s", "n"), "POST /sessions/s/fork", SESSION, body={"name": "n"}),
    Case("list_memory_blocks", ("a",), "GET /memory/blocks", [BLOCK], {"agent_id": "a"}),
    Case("get_memory_block", ("b",), "GET /memory/blocks/b", BLOCK),
    Case(
        "create_memory_block",
        (CreateMemoryBlockRequest(type=MemoryBlockType.CORE, label="l", content="c"),),
        "POST /memory/blocks",
        BLOCK,
        body={"type": "core", "label": "l", "content": "c", "read_only": False, "metadata": {}},
    ),
    Case(
        "update_memory_block",
        ("b", UpdateMemoryBlockRequest(content="c")),
        "PATCH /memory/blocks/b",
        BLOCK,
        body={"content": "c"},
    ),
    Case("delete_memory_block", ("b",), "DELETE /memory/blocks/b"),
    Case("search_archive", ("q",), "POST /memory/archive/search", [ENTRY], body={"query": "q", "limit": 10}),
    Case("add_to_archive", ("c",), "POST /memory/archive", ENTRY, body={"content": "c", "metadata": {}}),
    Case("export_memory", ("a",), "POST /agents/a/memory/export", b"PK"),
    Case(
        "export_memory",
        ("a", ExportMemoryRequest(include_archive=False)),
        "POST /agents/a/memory/export",
        b"PK",
        {"include_archive": "false"},
    ),
    Case("list_subagents", ("p",), "GET /subagents", [SUBAGENT], {"parent_id": "p"}),
    Case(
        "spawn_subagent",
        (SpawnSubagentRequest(type="t", prompt="p"),),
        "POST /subagents",
        SUBAGENT,
        body={"type": "t", "prompt": "p", "config": {}},
    ),
    Case("get_subagent", ("s",), "GET /subagents/s", SUBAGENT),
    Case("terminate_subagent", ("s",), "POST /subagents/s/terminate"),
    Case("get_subagent_result", ("s",), "GET /subagents/s/result", {"any": "thing"}),
    Case("list_files", (), "GET /files", [FILE], {"path": "/"}),
    Case(
        "write_file",
        ("/a", "x"),
        "POST /files/write",
        FILE,
        body={"path": "/a", "content": "x", "create_directories": False},
    ),
    Case("delete_file", ("/a b&c",), "DELETE /files", None, {"path": "/a b&c"}),
    Case(
        "search_files",
        ("*.py", "/a", 5),
        "GET /files/search",
        [FILE],
        {"pattern": "*.py", "path": "/a", "max_results": "5"},
    ),
    Case("download_file", ("/a",), "GET /files/download", b"\x00", {"path": "/a"}),
    Case("list_hooks", (), "GET /hooks", [HOOK]),
    Case("get_hook", ("h",), "GET /hooks/h", HOOK),
    Case(
        "create_hook",
        (CreateHookRequest(type=HookType.STOP, name="n", command="c"),),
        "POST /hooks",
        HOOK,
        body={"type": "stop", "name": "n", "command": "c", "config": {}},
    ),
    Case("delete_hook", ("h",), "DELETE /hooks/h"),
    Case("enable_hook", ("h",), "POST /hooks/h/enable", HOOK),
    Case("disable_hook", ("h",), "POST /hooks/h/disable", HOOK),
    Case("list_todos", ("pending",), "GET /todos", [TODO], {"status": "pending"}),
    Case("get_todo", ("t",), "GET /todos/t", TODO),
    Case(
        "create_todo",
        (CreateTodoRequest(content="c"),),
        "POST /todos",
        TODO,
        body={"content": "c", "priority": 0, "metadata": {}},
    ),
    Case(
        "update_todo",
        ("t", UpdateTodoRequest(status=TodoStatus.COMPLETED)),
        "PATCH /todos/t",
        TODO,
        body={"status": "completed"},
    ),
    Case("delete_todo", ("t",), "DELETE /todos/t"),
    Case("list_models", (), "GET /models", [MODEL]),
    Case("get_model", ("openai/gpt-4o",), "GET /models/openai%2Fgpt-4o", MODEL),
    Case("set_model", ("m",), "POST /models/active", None, body={"model_id": "m"}),
]

UPLOADS_AND_OTHERS = {"import_agent", "import_memory", "upload_file", "read_file", "execute_stream"}


@pytest.fixture
def server() -> Iterator[Recorder]:
    with recording() as recorder:
        yield recorder


@pytest.fixture
async def client(server: Recorder) -> AsyncGenerator[OpenHarnessClient, None]:
    async with OpenHarnessClient(server.base_url, api_key="key") as client:
        yield client


def answered(result: Any) -> Response:
    """The response that must become `result`."""
    if result is None:
        return Response(status_code=204)
    if isinstance(result, bytes):
        return Response(result, media_type="application/zip")
    if isinstance(result, list):
        return JSONResponse([item.model_dump(mode="json") for item in result])
    return JSONResponse(result.model_dump(mode="json") if isinstance(result, BaseModel) else result)


def plain(result: Any) -> Any:
    """A result whose classes no longer matter: a page of agents equals a page of anything with the same items."""
    if isinstance(result, PaginatedResponse):
        return {**dict(result), "data": [*result.data]}
    return result


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.method)
async def test_method_sends_its_request_and_gives_back_the_answer(
    server: Recorder, client: OpenHarnessClient, case: Case
) -> None:
    server.answer(answered(case.result))
    result = await getattr(client, case.method)(*case.args)
    assert plain(result) == plain(case.result)
    (asked,) = server.asked
    verb, path = case.request.split()
    assert (asked.method, asked.path, asked.query, asked.json) == (verb, f"/v1{path}", case.query, case.body)
    assert asked.headers["authorization"] == "Bearer key"


def test_client_has_seventy_methods_and_each_is_tested_here() -> None:
    methods = {name for name in dir(OpenHarnessClient) if not name.startswith("_")} - {"close", "transport"}
    assert len(methods) == 70
    assert methods == {case.method for case in CASES} | UPLOADS_AND_OTHERS


async def test_uploads_are_multipart_that_a_server_can_read(server: Recorder, client: OpenHarnessClient) -> None:
    server.answer(JSONResponse(ImportAgentResponse(agent=AGENT).model_dump(mode="json")))
    imported = await client.import_agent(b"PK1", "x.zip", ImportAgentRequest(rename_to="n"))
    assert imported == ImportAgentResponse(agent=AGENT)
    taken = ImportMemoryResponse(blocks_imported=1, archive_entries_imported=2)
    server.answer(taken.model_dump())
    merged = ImportMemoryRequest(merge_strategy=MemoryMergeStrategy.MERGE)
    assert await client.import_memory("a", b"PK2", request=merged) == taken
    server.answer(FILE.model_dump())
    assert await client.upload_file("/a/b c", b"\xff", "b c") == FILE
    assert [(asked.method, asked.path, asked.query) for asked in server.asked] == [
        ("POST", "/v1/agents/import", {"rename_to": "n", "merge_strategy": "fail"}),
        ("POST", "/v1/agents/a/memory/import", {"merge_strategy": "merge"}),
        ("POST", "/v1/files/upload", {"path": "/a/b c"}),
    ]
    for asked, name, content in zip(
        server.asked, ["x.zip", "memory.zip", "b c"], [b"PK1", b"PK2", b"\xff"], strict=True
    ):
        assert asked.headers["content-type"].startswith("multipart/form-data; boundary=")
        assert f'name="file"; filename="{name}"'.encode() in asked.body
        assert content in asked.body


async def test_memory_export_falls_back_to_a_get(server: Recorder, client: OpenHarnessClient) -> None:
    server.answer({"status": "ready"}, Response(b"PK\x03", media_type="application/zip"))
    assert await client.export_memory("a") == b"PK\x03"
    assert [(asked.method, asked.path) for asked in server.asked] == [
        ("POST", "/v1/agents/a/memory/export"),
        ("GET", "/v1/agents/a/memory/export"),
    ]


async def test_read_file_gives_the_text(server: Recorder, client: OpenHarnessClient) -> None:
    server.answer({"content": "hello"})
    assert await client.read_file("/a", offset=0, limit=5) == "hello"
    assert server.asked[0].query == {"path": "/a", "offset": "0", "limit": "5"}


async def test_execute_stream_yields_typed_events_and_skips_unknown_ones(
    server: Recorder, client: OpenHarnessClient
) -> None:
    server.answer(
        event_stream(
            'data: {"type": "text", "content": "a"}',
            "",
            'data: {"type": "tool_call_start", "id": "c", "name": "t", "input": {"x": 1}}',
            "",
            'data: {"type": "brand_new"}',
            "",
            'data: {"type": "done", "usage": {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}}',
        )
    )
    events = [event async for event in client.execute_stream(ExecuteRequest(message="hi"))]
    assert events == [
        TextEvent(content="a"),
        ToolCallStartEvent(id="c", name="t", input={"x": 1}),
        DoneEvent(usage=UsageStats(input_tokens=1, output_tokens=2, total_tokens=3)),
    ]
    assert (server.asked[0].path, server.asked[0].json) == ("/v1/execute/stream", {"message": "hi", "metadata": {}})


async def test_refused_key_is_the_same_error_for_calls_and_streams(server: Recorder, client: OpenHarnessClient) -> None:
    server.answer(JSONResponse({"detail": "no"}, 401))
    with pytest.raises(AuthenticationError):
        await client.execute(ExecuteRequest(message="hi"))
    with pytest.raises(AuthenticationError):
        [event async for event in client.execute_stream(ExecuteRequest(message="hi"))]


async def test_empty_id_is_refused_before_anything_is_sent(server: Recorder, client: OpenHarnessClient) -> None:
    with pytest.raises(ValueError, match="empty"):
        await client.delete_agent("")
    assert server.asked == []


async def test_own_transport_is_used_and_closed_with_the_client(server: Recorder) -> None:
    transport = RestTransport(server.base_url)
    server.answer(JSONResponse([]))
    async with OpenHarnessClient(transport=transport) as client:
        assert client.transport is transport
        assert client.base_url == "https://api.openharness.org/v1"
        assert await client.list_models() == []
    assert "authorization" not in server.asked[0].headers


async def test_server_error_is_a_transport_error_with_the_body(server: Recorder, client: OpenHarnessClient) -> None:
    server.answer(JSONResponse({"error": {"code": "CAPABILITY_NOT_SUPPORTED"}}, 501))
    with pytest.raises(TransportError) as raised:
        await client.list_hooks()
    assert (raised.value.status_code, raised.value.body) == (501, {"error": {"code": "CAPABILITY_NOT_SUPPORTED"}})


async def test_answer_of_another_shape_is_a_transport_error_with_the_body(
    server: Recorder, client: OpenHarnessClient
) -> None:
    async def stream() -> None:
        [event async for event in client.execute_stream(ExecuteRequest(message="hi"))]

    for answer, call, body in (
        (Response(status_code=204), lambda: client.get_agent("a"), None),
        ({"data": 1}, client.list_agents, {"data": 1}),
        ([{}], client.list_models, [{}]),
        ({}, lambda: client.import_agent(b"zip"), {}),
        (event_stream('data: {"type": "text"}'), stream, {"type": "text"}),
    ):
        server.answer(answer)
        with pytest.raises(TransportError, match="has not the shape") as raised:
            await call()
        assert raised.value.body == body
