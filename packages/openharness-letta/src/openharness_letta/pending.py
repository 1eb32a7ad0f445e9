"""Which tool calls an agent waits with. Knows nothing of how they are decided."""

import json

from openharness_letta.connection import Connection, url_path
from openharness_letta.errors import about
from openharness_letta.frames import Call, FrameReader


async def pending_calls(connection: Connection, agent_id: str) -> list[Call]:
    """The tool calls of the agent's pending approval request; none if it does not wait."""
    with about("Agent", agent_id):
        agent = await connection.get(url_path("agents", agent_id), include=["agent.pending_approval"])
    request = agent.get("pending_approval")
    if not request:
        return []
    reader = FrameReader()
    reader.read({**request, "message_type": "approval_request_message"})
    reader.settle()
    return [Call(call.id, call.name, json.dumps(call.input)) for call in reader.waiting]
