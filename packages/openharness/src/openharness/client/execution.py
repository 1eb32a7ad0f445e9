"""Executions: sending messages to agents."""

from collections.abc import AsyncIterator
from typing import Annotated, get_args

from pydantic import BaseModel, Field, TypeAdapter

from openharness.client.base import ApiMethods, body, parsed, url_path
from openharness.types import ExecuteRequest, Execution, ExecutionEvent

_events: TypeAdapter[ExecutionEvent] = TypeAdapter(Annotated[ExecutionEvent, Field(discriminator="type")])


def _type_of(event: type[BaseModel]) -> str:
    return str(event.model_fields["type"].default)


_known = {_type_of(event) for event in get_args(ExecutionEvent)}


class ExecutionMethods(ApiMethods):
    async def execute(self, request: ExecuteRequest) -> Execution:
        """Send a message and wait until the agent is done."""
        return await self._one(Execution, "POST", "/execute", json_data=body(request))

    async def execute_stream(self, request: ExecuteRequest) -> AsyncIterator[ExecutionEvent]:
        """Send a message and yield what happens. Events of a type this version does not know are left out."""
        stream = self._transport.stream("POST", "/execute/stream", json_data=body(request))
        async for data in stream:
            if data.get("type") in _known:
                yield parsed(_events, data)

    async def get_execution(self, execution_id: str) -> Execution:
        """The record of an execution."""
        return await self._one(Execution, "GET", url_path("executions", execution_id))

    async def cancel_execution(self, execution_id: str) -> None:
        """Stop an execution."""
        await self._transport.request("POST", url_path("executions", execution_id, "cancel"))
