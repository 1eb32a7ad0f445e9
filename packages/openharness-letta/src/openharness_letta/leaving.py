"""Ending a run that its caller left, so that the agent does not wait for answers that nobody will give.

Cancels the run where the server can, and answers what is open with errors where it cannot. Knows nothing of why a run
was left.
"""

import asyncio
import logging
from collections.abc import Collection
from typing import Any

from letta_client import APIError

from openharness_letta.connection import Connection, url_path
from openharness_letta.errors import RunFailed
from openharness_letta.frames import Call
from openharness_letta.pending import pending_calls

log = logging.getLogger(__name__)

LEFT = "the run was left before the tool had answered"
PATIENCE = 60.0  # seconds for the agent to take note of answers it may still want to speak about


async def release(connection: Connection, agent_id: str, run_id: str, tools: Collection[str]) -> None:
    """Cancel a run; if the agent waits for one of `tools` all the same, answer each of its calls with an error.

    Raises nothing for what the server refuses: that is logged, as there is nobody left to tell.
    """
    try:
        await _cancelled(connection, agent_id, run_id)
        calls = await pending_calls(connection, agent_id)
        if any(call.name in tools for call in calls):
            await asyncio.wait_for(_refused(connection, agent_id, calls, tools), PATIENCE)
    except (APIError, RunFailed, asyncio.TimeoutError) as error:
        log.warning("agent %s may still wait for the answer to a tool call of run %s: %s", agent_id, run_id, error)


async def _cancelled(connection: Connection, agent_id: str, run_id: str) -> None:
    path = url_path("agents", agent_id, "messages", "cancel")
    try:
        await connection.send("post", path, {"run_ids": [run_id]}, once=True)
    except APIError as error:
        # It ended by itself, or this server cannot cancel: what the agent waits for tells which.
        log.debug("run %s could not be cancelled: %s", run_id, error)


async def _refused(connection: Connection, agent_id: str, calls: list[Call], tools: Collection[str]) -> None:
    """Answer the calls, and read until the run has ended: a server may keep answers only with what follows them."""
    body = {
        "messages": [{"type": "approval", "approvals": [_refusal(call, tools) for call in calls]}],
        "streaming": True,
        "max_steps": 1,
    }
    async for _ in connection.frames(url_path("agents", agent_id, "messages", "stream"), body):
        pass


def _refusal(call: Call, tools: Collection[str]) -> dict[str, Any]:
    if call.name in tools:
        return {"type": "tool", "tool_call_id": call.id, "tool_return": LEFT, "status": "error"}
    return {"type": "approval", "tool_call_id": call.id, "approve": False, "reason": LEFT}
