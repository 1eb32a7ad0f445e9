"""The client of an OpenHarness server: one method per operation, grouped by domain."""

from types import TracebackType

from openharness.client.agents import AgentMethods
from openharness.client.execution import ExecutionMethods
from openharness.client.files import FileMethods
from openharness.client.harnesses import HarnessMethods
from openharness.client.hooks import HookMethods
from openharness.client.mcp import McpMethods
from openharness.client.memory import MemoryMethods
from openharness.client.models import ModelMethods
from openharness.client.planning import PlanningMethods
from openharness.client.sessions import SessionMethods
from openharness.client.skills import SkillMethods
from openharness.client.subagents import SubagentMethods
from openharness.client.tools import ToolMethods
from openharness.transports import RestTransport, Transport

__all__ = ["OpenHarnessClient"]


class OpenHarnessClient(
    HarnessMethods,
    AgentMethods,
    SkillMethods,
    ToolMethods,
    McpMethods,
    ExecutionMethods,
    SessionMethods,
    MemoryMethods,
    SubagentMethods,
    FileMethods,
    HookMethods,
    PlanningMethods,
    ModelMethods,
):
    """Speaks to the OpenHarness server at `base_url`.

    Every method raises a `TransportError` (or a subclass) when the server refuses, cannot be reached, or answers what
    has not the shape the API states, and `ValueError` for an id that is empty. `timeout` is in seconds. With a
    `transport` of your own, `base_url`, `api_key` and `timeout` only serve as a record. As an async context manager the
    client closes on exit.
    """

    def __init__(
        self,
        base_url: str = "https://api.openharness.org/v1",
        api_key: str | None = None,
        transport: Transport | None = None,
        timeout: float = 30.0,
    ) -> None:
        super().__init__(transport or RestTransport(base_url, api_key=api_key, timeout=timeout))
        self.base_url = base_url
        self.api_key = api_key

    @property
    def transport(self) -> Transport:
        """What carries the requests."""
        return self._transport

    async def close(self) -> None:
        """Let go of every connection."""
        await self._transport.close()

    async def __aenter__(self) -> "OpenHarnessClient":
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()
