"""The adapter base and the registry."""

from collections.abc import AsyncGenerator
from typing import Any

import pytest

from openharness.adapter import (
    AdapterCapabilities,
    AdapterExecutionResult,
    AdapterRegistry,
    HarnessAdapter,
    ToolDefinition,
)
from openharness.types import CapabilityInfo, CapabilityManifest, DoneEvent, ExecuteRequest, ExecutionEvent, TextEvent

pytestmark = pytest.mark.anyio


class EchoAdapter(HarnessAdapter):
    """Says everything back."""

    def __init__(self, name: str = "echo", capabilities: AdapterCapabilities | None = None) -> None:
        self._name = name
        self._capabilities = capabilities or AdapterCapabilities(execution=True)
        self.closed = False

    @property
    def id(self) -> str:
        return self._name

    @property
    def name(self) -> str:
        return self._name.title()

    @property
    def version(self) -> str:
        return "1.2.3"

    @property
    def capabilities(self) -> AdapterCapabilities:
        return self._capabilities

    async def execute(self, request: ExecuteRequest, **options: Any) -> AdapterExecutionResult:
        return AdapterExecutionResult(output=request.message)

    async def execute_stream(self, request: ExecuteRequest, **options: Any) -> AsyncGenerator[ExecutionEvent, None]:
        yield TextEvent(content=request.message)
        yield DoneEvent()

    async def close(self) -> None:
        self.closed = True


FLAGS = """
agents skills execution streaming sessions memory subagents mcp files hooks planning websocket multipart binary_download
"""


async def test_capability_flags_are_fourteen_and_off() -> None:
    assert list(vars(AdapterCapabilities()).items()) == [(flag, False) for flag in FLAGS.split()]


async def test_result_and_tool_definition_have_the_defaults_of_the_contract() -> None:
    assert vars(AdapterExecutionResult("hi")) == {"output": "hi", "tool_calls": [], "usage": None, "metadata": {}}
    assert vars(ToolDefinition("t", "d", {})) == {"name": "t", "description": "d", "input_schema": {}}


async def test_manifest_is_derived_from_the_flags() -> None:
    flags = AdapterCapabilities(execution=True, streaming=True, sessions=True, memory=True)
    assert await EchoAdapter(capabilities=flags).get_capability_manifest() == CapabilityManifest(
        harness_id="echo",
        version="1.2.3",
        capabilities=[
            CapabilityInfo(id="execution.run", supported=True),
            CapabilityInfo(id="execution.stream", supported=True),
            CapabilityInfo(id="sessions.create", supported=True),
        ],
    )


async def test_tools_are_not_supported_unless_an_adapter_says_so() -> None:
    adapter = EchoAdapter()
    assert await adapter.list_tools() == []
    with pytest.raises(NotImplementedError, match="not supported"):
        await adapter.register_tool(ToolDefinition("t", "d", {}))
    with pytest.raises(NotImplementedError, match="not supported"):
        await adapter.unregister_tool("t")
    with pytest.raises(NotImplementedError, match="not supported"):
        await adapter.invoke_tool("t", {})


async def test_adapter_closes_when_its_context_ends() -> None:
    async with EchoAdapter() as adapter:
        assert not adapter.closed
    assert adapter.closed


async def test_adapter_streams_without_being_awaited() -> None:
    events = [event async for event in EchoAdapter().execute_stream(ExecuteRequest(message="hi"))]
    assert events == [TextEvent(content="hi"), DoneEvent()]


async def test_registry_keeps_one_adapter_per_id() -> None:
    registry = AdapterRegistry()
    first, second, other = EchoAdapter(), EchoAdapter(), EchoAdapter("other")
    registry.register(first)
    registry.register(second)
    registry.register(other)
    assert registry.list() == [second, other]
    assert registry.get("echo") is second
    assert registry.has("echo")
    registry.unregister("echo")
    assert not registry.has("echo")
    with pytest.raises(KeyError, match="Adapter not found: echo"):
        registry.get("echo")
    with pytest.raises(KeyError, match="Adapter not found: echo"):
        registry.unregister("echo")
