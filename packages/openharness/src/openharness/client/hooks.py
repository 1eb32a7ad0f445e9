"""Hooks: commands the harness runs around tool calls."""

from openharness.client.base import ApiMethods, body, url_path
from openharness.types import CreateHookRequest, Hook


class HookMethods(ApiMethods):
    async def list_hooks(self) -> list[Hook]:
        """Every hook."""
        return await self._many(Hook, "GET", "/hooks")

    async def get_hook(self, hook_id: str) -> Hook:
        """One hook."""
        return await self._one(Hook, "GET", url_path("hooks", hook_id))

    async def create_hook(self, request: CreateHookRequest) -> Hook:
        """Add a hook."""
        return await self._one(Hook, "POST", "/hooks", json_data=body(request))

    async def delete_hook(self, hook_id: str) -> None:
        """Remove a hook."""
        await self._transport.request("DELETE", url_path("hooks", hook_id))

    async def enable_hook(self, hook_id: str) -> Hook:
        """Let a hook run again."""
        return await self._one(Hook, "POST", url_path("hooks", hook_id, "enable"))

    async def disable_hook(self, hook_id: str) -> Hook:
        """Keep a hook from running."""
        return await self._one(Hook, "POST", url_path("hooks", hook_id, "disable"))
