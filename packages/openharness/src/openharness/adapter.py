"""The base of adapters, which bring a harness under the OpenHarness API, and a registry of them.

Sessions, agents, memory and the other domains have no methods here: an adapter that offers them adds its own, and its
capabilities say so.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, TypeVar

from openharness.types import CapabilityInfo, CapabilityManifest, ExecuteRequest, ExecutionEvent, Tool, UsageStats

AdapterT = TypeVar("AdapterT", bound="HarnessAdapter")


@dataclass
class AdapterCapabilities:
    """Which domains an adapter offers."""

    agents: bool = False
    skills: bool = False
    execution: bool = False
    streaming: bool = False
    sessions: bool = False
    memory: bool = False
    subagents: bool = False
    mcp: bool = False
    files: bool = False
    hooks: bool = False
    planning: bool = False
    websocket: bool = False
    multipart: bool = False
    binary_download: bool = False


@dataclass
class AdapterExecutionResult:
    """What one execution gave: its whole text, its tool calls, its usage, and what the adapter adds."""

    output: str
    tool_calls: list[dict[str, Any]] = field(default_factory=list)
    usage: UsageStats | None = None
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass
class ToolDefinition:
    """A tool as its caller sees it; `input_schema` is a JSON Schema of an object."""

    name: str
    description: str
    input_schema: dict[str, Any]


class HarnessAdapter(ABC):
    """Brings one harness under the OpenHarness API. As an async context manager it closes on exit."""

    @property
    @abstractmethod
    def id(self) -> str:
        """The adapter's id, for example `letta`."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The adapter's name for people."""

    @property
    @abstractmethod
    def version(self) -> str:
        """The adapter's version."""

    @property
    @abstractmethod
    def capabilities(self) -> AdapterCapabilities:
        """Which domains the adapter offers."""

    @abstractmethod
    async def execute(self, request: ExecuteRequest, **options: Any) -> AdapterExecutionResult:
        """Send a message and wait for everything it leads to."""

    @abstractmethod
    def execute_stream(self, request: ExecuteRequest, **options: Any) -> AsyncIterator[ExecutionEvent]:
        """Send a message and yield what happens, in the order `openharness.types.events` states."""

    async def get_capability_manifest(self) -> CapabilityManifest:
        """The operations that follow from the flags; an adapter with more overrides this."""
        flags = self.capabilities
        derived = {
            "execution.run": flags.execution,
            "execution.stream": flags.streaming,
            "sessions.create": flags.sessions,
        }
        return CapabilityManifest(
            harness_id=self.id,
            version=self.version,
            capabilities=[CapabilityInfo(id=operation, supported=True) for operation, on in derived.items() if on],
        )

    async def list_tools(self) -> list[Tool]:
        """The tools agents of this harness can call."""
        return []

    async def register_tool(self, tool: ToolDefinition) -> None:
        """Add a tool. Raises NotImplementedError unless the adapter offers it."""
        raise NotImplementedError(f"Tool registration is not supported by the {self.name} adapter")

    async def unregister_tool(self, tool_id: str) -> None:
        """Remove a tool. Raises NotImplementedError unless the adapter offers it."""
        raise NotImplementedError(f"Tool unregistration is not supported by the {self.name} adapter")

    async def invoke_tool(self, tool_id: str, input_data: dict[str, Any]) -> Any:
        """Call a tool without an agent. Raises NotImplementedError unless the adapter offers it."""
        raise NotImplementedError(f"Direct tool invocation is not supported by the {self.name} adapter")

    async def close(self) -> None:  # noqa: B027 - having nothing to close is the usual case
        """Let go of connections."""

    async def __aenter__(self: AdapterT) -> AdapterT:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()


Adapters = list[HarnessAdapter]


class AdapterRegistry:
    """Adapters by their id."""

    def __init__(self) -> None:
        self._adapters: dict[str, HarnessAdapter] = {}

    def register(self, adapter: HarnessAdapter) -> None:
        """Add an adapter; one of the same id is replaced."""
        self._adapters[adapter.id] = adapter

    def unregister(self, adapter_id: str) -> None:
        """Remove an adapter. Raises KeyError if there is none of that id."""
        self.get(adapter_id)
        del self._adapters[adapter_id]

    def get(self, adapter_id: str) -> HarnessAdapter:
        """The adapter of that id. Raises KeyError if there is none."""
        if adapter_id not in self._adapters:
            raise KeyError(f"Adapter not found: {adapter_id}")
        return self._adapters[adapter_id]

    def list(self) -> Adapters:
        """Every adapter, in the order of registration."""
        return [*self._adapters.values()]

    def has(self, adapter_id: str) -> bool:
        """Whether there is an adapter of that id."""
        return adapter_id in self._adapters
