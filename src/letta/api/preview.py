"""Showing the request a provider would get, without sending it: `preview-raw-payload`."""

from typing import Any

from fastapi import Response

from letta.api import routes
from letta.api.context import AgentId, Parts
from letta.api.conversations import ThreadId, address
from letta.runtime.preview import preview
from letta.schemas.sends import SendRequest

router = routes.router(prefix="/v1")


@router.post("/agents/{agent_id}/messages/preview-raw-payload", response_model=dict[str, Any], tags=["messages"])
async def preview_request(parts: Parts, agent_id: AgentId, body: SendRequest) -> Response:
    """The body of the request these messages would lead to. Nothing is sent or stored."""
    shown = await preview(parts.database, parts.registry, agent_id, agent_id, body)
    return Response(shown, media_type="application/json")


@router.post(
    "/conversations/{conversation_id}/messages/preview-raw-payload",
    response_model=dict[str, Any],
    tags=["conversations"],
)
async def preview_conversation_request(parts: Parts, conversation_id: ThreadId, body: SendRequest) -> Response:
    """The body of the request these messages would lead to in a conversation. Nothing is sent or stored."""
    at = await address(parts, conversation_id, body.agent_id)
    shown = await preview(parts.database, parts.registry, at.agent_id, at.conversation_id, body)
    return Response(shown, media_type="application/json")
