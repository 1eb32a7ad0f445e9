"""The Letta adapter: a Letta server under the OpenHarness API.

Wires the other modules together and keeps what belongs to one adapter: its connection, its registered tools, its
default agent.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any

from letta_client import AsyncLetta, NotFoundError

from openharness.adapter import AdapterCapabilities, AdapterExecutionResult, HarnessAdapter
from openharness.types import (
    ArchiveEntry,
    CapabilityInfo,
    CapabilityManifest,
    DoneEvent,
    ErrorEvent,
    ExecuteRequest,
    ExecutionEvent,
    Tool,
)
from openharness_letta import agents, archive, invocation
from openharness_letta.connection import Connection, open_client, url_path
from openharness_letta.errors import RunFailed, about
from openharness_letta.memory import MemoryBlockManager
from openharness_letta.pending import pending_calls
from openharness_letta.requests import Decision, RunOptions, chosen_tools, first_messages, refuse_unsupported
from openharness_letta.run import Run
from openharness_letta.tools import Change, ClientTool, Handler, Registrable, SourceTool, find_tool, listed, registered
from openharness_letta.types import LettaAgentConfig

OPERATIONS = (
    "agents.create",
    "agents.get",
    "agents.list",
    "agents.update",
    "agents.delete",
    "execution.run",
    "execution.stream",
    "memory.blocks.list",
    "memory.blocks.get",
    "memory.blocks.update",
    "memory.blocks.create",
    "memory.blocks.delete",
)


class LettaAdapter(HarnessAdapter):
    """Runs agents on a Letta server.

    The server is `base_url`, else `LETTA_BASE_URL`, else `http://localhost:8283`; the key is `api_key`, else
    `LETTA_API_KEY`, else none. `timeout` is the longest silence of the server in seconds. Nothing is connected before
    the first call; after `close()` the adapter may be used again.

    Errors: what the server refuses is raised as letta-client's error of that status, a run that ends badly as
    `RunFailed`, a request nobody could honour as `ValueError`; `execute_stream` tells all of them as one `error` event.
    """

    def __init__(self, api_key: str | None = None, base_url: str | None = None, timeout: float = 60.0) -> None:
        self._api_key = api_key
        self._base_url = base_url
        self._timeout = timeout
        self._client: AsyncLetta | None = None
        self._memory_manager: MemoryBlockManager | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._default_agent_id: str | None = None
        self._default_agent_lock = asyncio.Lock()
        self._client_tools: dict[str, ClientTool] = {}
        self._source_tools: dict[str, SourceTool] = {}
        self._changes: list[Callable[[], Awaitable[None]]] = []
        self._changes_lock = asyncio.Lock()
        self._releases: set[asyncio.Task[None]] = set()

    @property
    def id(self) -> str:
        return "letta"

    @property
    def name(self) -> str:
        return "Letta"

    @property
    def version(self) -> str:
        return "0.1.0"

    @property
    def capabilities(self) -> AdapterCapabilities:
        return AdapterCapabilities(agents=True, execution=True, streaming=True, memory=True)

    async def get_capability_manifest(self) -> CapabilityManifest:
        search = CapabilityInfo(
            id="memory.archive.search", supported=True, notes="Searches an agent's archival memory by meaning"
        )
        return CapabilityManifest(
            harness_id=self.id,
            version=self.version,
            capabilities=[*(CapabilityInfo(id=operation, supported=True) for operation in OPERATIONS), search],
        )

    @property
    def memory(self) -> MemoryBlockManager:
        """The memory blocks of agents."""
        client = self._connected()
        if self._memory_manager is None:
            self._memory_manager = MemoryBlockManager(client)
        return self._memory_manager

    async def create_agent(self, config: LettaAgentConfig | Mapping[str, Any]) -> str:
        """Make an agent and answer its id. A mapping has the fields of `LettaAgentConfig`."""
        connection = await self._ready()
        return await agents.create_agent(connection, config, local_tools=set(self._client_tools), tags=[])

    async def get_agent(self, agent_id: str) -> dict[str, Any]:
        """id, name, model, created_at and metadata of an agent. Raises `NotFoundError` if there is none."""
        return await agents.agent_details(await self._ready(), agent_id)

    async def list_agents(self) -> list[dict[str, Any]]:
        """id, name and model of every agent."""
        return await agents.agent_summaries(await self._ready())

    async def update_agent(
        self, agent_id: str, changes: agents.AgentChanges | None = None, **fields: Any
    ) -> dict[str, Any]:
        """Change an agent and answer its details.

        Takes an `UpdateAgentRequest`, a mapping or keywords: name, description, tags, metadata, system_prompt, model,
        embedding_model, tools (names or ids; replaces the agent's tools). `None` keeps a field as it is.

        Raises:
            ValueError: a field that a Letta agent does not have, named.
        """
        asked = changes if changes is not None and not fields else {**_as_mapping(changes), **fields}
        return await agents.update_agent(await self._ready(), agent_id, asked)

    async def delete_agent(self, agent_id: str) -> None:
        """Delete an agent, and the memory blocks that were made for it alone."""
        await agents.delete_agent(await self._ready(), agent_id)
        if agent_id == self._default_agent_id:
            self._default_agent_id = None

    async def search_archive(
        self, agent_id: str, query: str, limit: int = 10, tags: list[str] | None = None
    ) -> list[ArchiveEntry]:
        """The `limit` entries of an agent's archive nearest to `query`, of all or those that bear one of `tags`."""
        return await archive.search_archive(await self._ready(), agent_id, query, limit, tags)

    async def add_to_archive(self, agent_id: str, content: str, tags: list[str] | None = None) -> ArchiveEntry:
        """Put a text into an agent's archive."""
        return await archive.add_to_archive(await self._ready(), agent_id, content, tags)

    async def execute(self, request: ExecuteRequest, **options: Any) -> AdapterExecutionResult:
        """Send a message and wait until the agent stops. Options: see `RunOptions`.

        The result's `metadata` holds that of the request, `agent_id` and `stop_reason`; `pending_approvals` if the run
        paused for approval; `summaries` if the context was compacted; `refused` if the server took no empty message.
        """
        parsed = RunOptions.parse(options, include_thinking=False)
        run = await self._run(request, parsed, stream_tokens=False)
        async with aclosing(self._events(run, request)) as events:
            async for _ in events:
                pass
        return run.result(request.metadata)

    async def execute_stream(self, request: ExecuteRequest, **options: Any) -> AsyncGenerator[ExecutionEvent, None]:
        """Send a message and yield what happens as it happens; the last event is one `done` or one `error`."""
        try:
            parsed = RunOptions.parse(options, include_thinking=True)
            run = await self._run(request, parsed, stream_tokens=True)
            async with aclosing(self._events(run, request)) as events:
                async for event in events:
                    yield event
        except Exception as error:  # a stream tells its errors as events, whatever they are
            yield ErrorEvent(code="execution_error", message=str(error) or type(error).__name__)
            return
        if run.paused:
            names = ", ".join(call.name for call in run.waiting)
            yield ErrorEvent(code="approval_required", message=f"Waiting for approval of {names}", recoverable=True)
        else:
            yield DoneEvent(usage=run.usage)

    async def answer_approvals(
        self, agent_id: str, decisions: Mapping[str, Decision], **options: Any
    ) -> AdapterExecutionResult:
        """Decide about the tool calls an agent waits with, and wait until it stops.

        `decisions` are keyed by tool call id: `True` lets a call run, `False` or a text (the reason) denies it.

        Raises:
            ValueError: the agent does not wait, or there is not one decision for each waiting call.
        """
        connection = await self._ready()
        calls = await pending_calls(connection, agent_id)
        if set(decisions) != {call.id for call in calls}:
            waiting = ", ".join(f"{call.id} ({call.name})" for call in calls) or "nothing"
            raise ValueError(f"Agent {agent_id} waits for {waiting}; decisions were given for {sorted(decisions)}")
        parsed = RunOptions.parse(options, include_thinking=False)
        run = Run(
            connection,
            agent_id,
            self._client_tools,
            parsed,
            stream_tokens=False,
            calls=calls,
            releases=self._releases,
        )
        async with aclosing(run.resumed(decisions)) as events:
            async for _ in events:
                pass
        return run.result()

    async def list_tools(self) -> list[Tool]:
        """The tools on the server, and those registered here that run in this process."""
        connection = await self._ready()
        found = [listed(tool) for tool in await connection.every(url_path("tools", ""))]
        own = [tool.listed() for tool in self._client_tools.values()]
        return [tool for tool in found if tool.name not in self._client_tools] + own

    def register_tool(
        self, tool: Registrable, *, handler: Handler | None = None, source_code: str | None = None
    ) -> Change:
        """Add a tool that every agent run by this adapter can call, until it is unregistered.

        `tool` is a function, Python source, a `ToolDefinition`, or a mapping with its fields and either `handler` or
        `source_code`. Functions and handlers run in this process whenever an agent calls them; source runs on the
        server. A definition with neither is offered to agents, and every call of it is an error that says so.

        Awaited, the tool is in place afterwards. Not awaited, it is put in place with the next call of the adapter.

        Raises:
            ValueError: the definition or its source makes no tool.
        """
        made = registered(tool, handler, source_code)
        if isinstance(made, ClientTool):
            self._client_tools[made.definition.name] = made
            return self._change(made.definition.name)
        return self._change(made.name, lambda: self._install(made))

    def unregister_tool(self, tool_id: str | Change) -> Change:
        """Remove a tool by its id or name (or by what `register_tool` answered), awaited or not like `register_tool`.

        A tool of this process is no longer offered; a custom tool of the server is deleted there.

        Raises, when awaited or with the next call:
            LookupError: there is no such tool.
            ValueError: it is a tool of Letta itself or of an MCP server.
        """
        named = tool_id.tool if isinstance(tool_id, Change) else tool_id
        if self._client_tools.pop(named, None) is not None:
            return self._change(named)
        return self._change(named, lambda: self._uninstall(named))

    async def invoke_tool(self, tool_id: str, input_data: dict[str, Any], agent_id: str | None = None) -> Any:
        """Call a tool, by id or name, without a model, and answer what it returns.

        A tool of this process runs here, one of an MCP server at that server. Any other runs on the server for
        `agent_id`, which must have it, or else for the default agent, which is given it.

        Raises:
            LookupError: there is no such tool.
            ToolInvocationError: the tool failed.
        """
        connection = await self._ready()
        if tool_id in self._client_tools:
            return await invocation.invoke_here(self._client_tools[tool_id], input_data)
        tool = await find_tool(connection, tool_id)
        if invocation.runs_at_mcp_server(tool):
            return await invocation.invoke_at_mcp_server(connection, tool, input_data)
        if agent_id is None:
            agent_id = await self._default_agent(connection)
            await invocation.give(connection, tool, agent_id)
        return await invocation.invoke_for_agent(connection, tool, agent_id, input_data)

    async def close(self) -> None:
        """Make the changes still to be made, and let go of the connection. The default agent is remembered."""
        try:
            await self._make_changes()
            await self._agents_released()
        finally:
            client, self._client, self._memory_manager = self._client, None, None
            if client is not None:
                await client.close()

    def _connected(self) -> AsyncLetta:
        loop = _running_loop()
        if self._client is not None and loop is not None and self._loop not in (None, loop):
            # The connections belong to a loop that ended, and cannot be used or closed from this one.
            self._client = self._memory_manager = None
        if self._client is None:
            self._client = open_client(self._api_key, self._base_url, self._timeout)
            self._loop = None
            self._default_agent_lock, self._changes_lock = asyncio.Lock(), asyncio.Lock()
            self._releases = set()
        self._loop = loop or self._loop
        return self._client

    async def _ready(self) -> Connection:
        """The connection, with every change to the tools made, and agents freed from runs that were left."""
        connection = Connection(self._connected(), self._timeout)
        await self._make_changes()
        await self._agents_released()
        return connection

    async def _agents_released(self) -> None:
        if self._releases:
            await asyncio.wait(self._releases)

    async def _run(self, request: ExecuteRequest, options: RunOptions, *, stream_tokens: bool) -> Run:
        refuse_unsupported(request)
        connection = await self._ready()
        agent_id = request.agent_id or await self._default_agent(connection)
        tools = await chosen_tools(connection, agent_id, request.tools, self._client_tools, self._source_tools)
        return Run(connection, agent_id, tools, options, stream_tokens=stream_tokens, releases=self._releases)

    async def _events(self, run: Run, request: ExecuteRequest) -> AsyncGenerator[ExecutionEvent, None]:
        empty = not request.message.strip()
        try:
            async with aclosing(
                run.events(first_messages(request), model=request.model, may_be_refused=empty)
            ) as events:
                async for event in events:
                    yield event
        except NotFoundError:
            if request.agent_id is None:
                # Somebody deleted the default agent: the next call makes another.
                self._default_agent_id = None
            raise
        except RunFailed as failed:
            if failed.result is not None:
                failed.result.metadata = {**request.metadata, **failed.result.metadata}
            raise

    async def _default_agent(self, connection: Connection) -> str:
        async with self._default_agent_lock:
            if self._default_agent_id is None:
                self._default_agent_id = await agents.default_agent(connection)
        return self._default_agent_id

    def _change(self, tool: str, action: Callable[[], Awaitable[None]] | None = None) -> Change:
        if action is not None:
            self._changes.append(action)
        return Change(tool, self._make_changes)

    async def _make_changes(self) -> None:
        if not self._changes:
            return
        self._connected()
        # All of them, in the order in which they were asked for: an earlier one may be undone by a later one.
        async with self._changes_lock:
            while self._changes:
                await self._changes.pop(0)()

    async def _install(self, tool: SourceTool) -> None:
        connection = Connection(self._connected(), self._timeout)
        with about("Tool", tool.name):
            tool.id = (await connection.send("put", url_path("tools", ""), tool.body()))["id"]
        self._client_tools.pop(tool.name, None)
        self._source_tools[tool.name] = tool

    async def _uninstall(self, named: str) -> None:
        connection = Connection(self._connected(), self._timeout)
        known = next((tool for tool in self._source_tools.values() if named in (tool.name, tool.id)), None)
        tool = await find_tool(connection, str(known.id) if known else named)
        if listed(tool).source != "custom":
            raise ValueError(f"Tool {named} cannot be unregistered: it is not a custom tool")
        with about("Tool", named):
            await connection.send("delete", url_path("tools", tool["id"]))
        self._source_tools.pop(str(tool.get("name")), None)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _as_mapping(changes: agents.AgentChanges | None) -> Mapping[str, Any]:
    if changes is None or isinstance(changes, Mapping):
        return changes or {}
    return {name: getattr(changes, name) for name in changes.model_fields_set}
