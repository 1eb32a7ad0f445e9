"""Decide about tool calls that need approval: at once, or later."""

import asyncio

from openharness.types import ExecuteRequest, ToolCall
from openharness_letta import LettaAdapter


def approve(call: ToolCall) -> bool | str:
    """True lets the call run; False or a reason denies it."""
    return True if call.input.get("amount", 0) <= 100 else "more than 100 needs a person"


async def main() -> None:
    async with LettaAdapter() as adapter:
        agent_id = await adapter.create_agent({"name": "payer", "tools": ["pay"]})
        request = ExecuteRequest(message="Pay 500 to Ann.", agent_id=agent_id)

        result = await adapter.execute(request, approve=approve)
        print(result.tool_calls[0]["error"])

        paused = await adapter.execute(request)  # nobody decides
        print(paused.metadata["stop_reason"])
        decisions = {call["id"]: True for call in paused.metadata["pending_approvals"]}
        result = await adapter.answer_approvals(agent_id, decisions)
        print(result.output)

        await adapter.delete_agent(agent_id)


if __name__ == "__main__":
    asyncio.run(main())
