"""Agents: their life cycle, and carrying them as packages."""

from pydantic import TypeAdapter

from openharness.client.base import ApiMethods, body, parsed, url_path
from openharness.types import (
    Agent,
    CreateAgentRequest,
    ExportAgentRequest,
    ImportAgentRequest,
    ImportAgentResponse,
    PaginatedResponse,
    PaginationParams,
    UpdateAgentRequest,
)


class AgentMethods(ApiMethods):
    async def list_agents(self, pagination: PaginationParams | None = None) -> PaginatedResponse[Agent]:
        """One page of the agents."""
        return await self._page(Agent, "/agents", pagination)

    async def get_agent(self, agent_id: str) -> Agent:
        """One agent."""
        return await self._one(Agent, "GET", url_path("agents", agent_id))

    async def create_agent(self, request: CreateAgentRequest) -> Agent:
        """Make an agent."""
        return await self._one(Agent, "POST", "/agents", json_data=body(request))

    async def update_agent(self, agent_id: str, request: UpdateAgentRequest) -> Agent:
        """Change what the request sets."""
        return await self._one(Agent, "PATCH", url_path("agents", agent_id), json_data=body(request))

    async def delete_agent(self, agent_id: str) -> None:
        """Delete an agent."""
        await self._transport.request("DELETE", url_path("agents", agent_id))

    async def clone_agent(self, agent_id: str, name: str | None = None) -> Agent:
        """Copy an agent, under another name if one is given."""
        named = {"name": name} if name else None
        return await self._one(Agent, "POST", url_path("agents", agent_id, "clone"), json_data=named)

    async def export_agent(self, agent_id: str, request: ExportAgentRequest | None = None) -> bytes:
        """An agent as a ZIP package."""
        params: dict[str, str] = {}
        if request is not None:
            params = {"contents_mode": request.contents_mode.value}
            params |= {"include_memory": "true"} if request.include_memory else {}
            params |= {"include_versions": "true"} if request.include_versions else {}
        return await self._transport.download(url_path("agents", agent_id, "export"), params=params)

    async def import_agent(
        self, bundle: bytes, filename: str = "agent.zip", request: ImportAgentRequest | None = None
    ) -> ImportAgentResponse:
        """Make an agent from a ZIP package."""
        answer = await self._transport.upload(
            "/agents/import",
            bundle,
            filename,
            content_type="application/zip",
            params=body(request) if request else None,
        )
        return parsed(TypeAdapter(ImportAgentResponse), answer)
