"""Skills: which are installed, and which could be."""

from openharness.client.base import ApiMethods, body, url_path
from openharness.types import InstallSkillRequest, PaginatedResponse, PaginationParams, Skill


class SkillMethods(ApiMethods):
    async def list_skills(self, pagination: PaginationParams | None = None) -> PaginatedResponse[Skill]:
        """One page of the installed skills."""
        return await self._page(Skill, "/skills", pagination)

    async def get_skill(self, skill_id: str) -> Skill:
        """One installed skill."""
        return await self._one(Skill, "GET", url_path("skills", skill_id))

    async def install_skill(self, request: InstallSkillRequest) -> Skill:
        """Install a skill."""
        return await self._one(Skill, "POST", "/skills", json_data=body(request))

    async def uninstall_skill(self, skill_id: str) -> None:
        """Remove an installed skill."""
        await self._transport.request("DELETE", url_path("skills", skill_id))

    async def discover_skills(self, query: str | None = None) -> list[Skill]:
        """Skills that could be installed, all or those matching `query`."""
        return await self._many(Skill, "GET", "/skills/discover", params={"q": query} if query else {})
