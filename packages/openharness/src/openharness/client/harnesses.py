"""Which harnesses a server has, and what they can do."""

from openharness.client.base import ApiMethods, url_path
from openharness.types import CapabilityManifest, Harness, PaginatedResponse, PaginationParams


class HarnessMethods(ApiMethods):
    async def list_harnesses(self, pagination: PaginationParams | None = None) -> PaginatedResponse[Harness]:
        """One page of the harnesses."""
        return await self._page(Harness, "/harnesses", pagination)

    async def get_harness(self, harness_id: str) -> Harness:
        """One harness."""
        return await self._one(Harness, "GET", url_path("harnesses", harness_id))

    async def get_capabilities(self, harness_id: str) -> CapabilityManifest:
        """What a harness can do."""
        return await self._one(CapabilityManifest, "GET", url_path("harnesses", harness_id, "capabilities"))
