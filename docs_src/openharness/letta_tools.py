"""Tools for agents: functions of your own process, and Python source that runs on the server."""

import asyncio

from openharness.types import ExecuteRequest
from openharness_letta import LettaAdapter

ROLL = '''
def roll(sides: int) -> int:
    """Roll a die.

    Args:
        sides: How many sides it has.
    """
    import random

    return random.randint(1, sides)
'''


def open_tickets(customer: str) -> list[str]:
    """Find the open tickets of a customer.

    Args:
        customer: The customer's name.
    """
    return [f"{customer}: printer on fire"]


async def main() -> None:
    async with LettaAdapter() as adapter:
        await adapter.register_tool(open_tickets)  # runs here, whenever an agent calls it
        await adapter.register_tool(ROLL)  # runs on the server

        result = await adapter.execute(ExecuteRequest(message="What is open for Ann?"))
        for call in result.tool_calls:
            print(call["name"], call["input"], "->", call.get("output", call.get("error")))
        print(result.output)

        print([tool.name for tool in await adapter.list_tools() if tool.source == "custom"])
        await adapter.unregister_tool("roll")


if __name__ == "__main__":
    asyncio.run(main())
