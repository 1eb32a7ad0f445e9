"""Subagents: handing work to other agents."""

from typing import Any

from openharness.client.base import ApiMethods, body, url_path
from openharness.types import SpawnSubagentRequest, Subagent


class SubagentMethods(ApiMethods):
    async def list_subagents(self, parent_id: str | None = None) -> list[Subagent]:
        """The subagents, all or those of one parent."""
        return await self._many(Subagent, "GET", "/subagents", params={"parent_id": parent_id} if parent_id else {})

    async def spawn_subagent(self, request: SpawnSubagentRequest) -> Subagent:
        """Start a subagent."""
        return await self._one(Subagent, "POST", "/subagents", json_data=body(request))

    async def get_subagent(self, subagent_id: str) -> Subagent:
        """One subagent."""
        return await self._one(Subagent, "GET", url_path("subagents", subagent_id))

    async def terminate_subagent(self, subagent_id: str) -> None:
        """Stop a subagent."""
        await self._transport.request("POST", url_path("subagents", subagent_id, "terminate"))

    async def get_subagent_result(self, subagent_id: str) -> Any:
        """What a subagent gave."""
        return await self._transport.request("GET", url_path("subagents", subagent_id, "result"))
