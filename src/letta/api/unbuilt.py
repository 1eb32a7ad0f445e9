"""Routes of the V1 API that this version does not serve yet: each answers 501 and says what is missing.

The table is all there is here, and rows leave it as features arrive (a test finds rows that are served elsewhere).
Paths in no table at all are unknown and answer 404. Nothing here is part of the API description.
"""

from collections.abc import Awaitable, Callable

from letta.api import routes
from letta.errors import NotBuilt

MISSING: dict[str, tuple[str, ...]] = {
    "exporting and importing agents": (
        "GET POST /v1/agents/{agent_id}/export",
        "POST /v1/agents/import",
    ),
    "keeping files and folders": (
        "GET /v1/agents/{agent_id}/files",
        "PATCH /v1/agents/{agent_id}/files/close-all",
        "PATCH /v1/agents/{agent_id}/files/{file_id}/close",
        "PATCH /v1/agents/{agent_id}/files/{file_id}/open",
        "GET /v1/agents/{agent_id}/folders",
        "PATCH /v1/agents/{agent_id}/folders/attach/{folder_id}",
        "PATCH /v1/agents/{agent_id}/folders/detach/{folder_id}",
        "GET POST /v1/folders",
        "GET /v1/folders/count",
        "GET /v1/folders/metadata",
        "GET /v1/folders/name/{folder_name}",
        "GET PATCH DELETE /v1/folders/{folder_id}",
        "GET /v1/folders/{folder_id}/agents",
        "GET /v1/folders/{folder_id}/files",
        "GET /v1/folders/{folder_id}/files/{file_id}",
        "GET /v1/folders/{folder_id}/passages",
        "POST /v1/folders/{folder_id}/upload",
        "DELETE /v1/folders/{folder_id}/{file_id}",
    ),
    "keeping files and folders under their older name, sources,": (
        "GET /v1/agents/{agent_id}/sources",
        "PATCH /v1/agents/{agent_id}/sources/attach/{source_id}",
        "PATCH /v1/agents/{agent_id}/sources/detach/{source_id}",
        "GET POST /v1/sources",
        "GET /v1/sources/count",
        "GET /v1/sources/metadata",
        "GET /v1/sources/name/{source_name}",
        "GET PATCH DELETE /v1/sources/{source_id}",
        "GET /v1/sources/{source_id}/agents",
        "GET /v1/sources/{source_id}/files",
        "GET /v1/sources/{source_id}/files/{file_id}",
        "GET /v1/sources/{source_id}/passages",
        "POST /v1/sources/{source_id}/upload",
        "DELETE /v1/sources/{source_id}/{file_id}",
    ),
    "asking an agent's model directly": ("POST /v1/agents/{agent_id}/generate",),
    "making agents from templates": (
        "GET POST /v1/templates",
        "PATCH DELETE /v1/templates/{template_name}",
        "POST /v1/templates/{template_name}/rollback",
        "POST /v1/templates/{template_name}/save",
        "POST /v1/templates/{template_version}/agents",
    ),
    "giving browsers access tokens": (
        "GET POST /v1/client-side-access-tokens",
        "DELETE /v1/client-side-access-tokens/{token}",
    ),
    "connecting devices as environments": (
        "GET /v1/environments",
        "GET /v1/environments/{device_id}",
        "POST /v1/environments/{connection_id}/messages",
    ),
    "the chat completions API": (
        "POST /v1/chat/completions",
        "POST /v1/voice-beta/{agent_id}/chat/completions",
    ),
}
"""What is not built, and the routes that need it: methods, then the path."""


def missing_routes() -> list[tuple[str, str, str]]:
    """Every row as (method, path, what is missing)."""
    rows = [(line.split(), what) for what, lines in MISSING.items() for line in lines]
    return [(method, path, what) for (*methods, path), what in rows for method in methods]


def _refusal(what: str) -> Callable[[], Awaitable[None]]:
    async def refuse() -> None:
        raise NotBuilt(f"{what[0].upper()}{what[1:]} is not built yet")

    return refuse


def _mounted() -> routes.Router:
    mounted = routes.router(include_in_schema=False)
    for method, path, what in missing_routes():
        mounted.add(path, _refusal(what), [method], status_code=501, response_model=None)
    return mounted


router = _mounted()
