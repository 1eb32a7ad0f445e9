"""An agent with memory on a Letta server."""

import asyncio

from openharness.types import ExecuteRequest
from openharness_letta import LettaAdapter
from openharness_letta.types import LettaAgentConfig, MemoryBlock


async def main() -> None:
    # LETTA_BASE_URL, or http://localhost:8283; LettaAdapter(base_url=..., api_key=...) for another server.
    async with LettaAdapter() as adapter:
        agent_id = await adapter.create_agent(
            LettaAgentConfig(
                name="my-assistant",
                model="openai/gpt-4o-mini",
                memory_blocks=[
                    MemoryBlock(label="human", value="Name: Alice"),
                    MemoryBlock(label="persona", value="I am a helpful assistant."),
                ],
            )
        )

        result = await adapter.execute(ExecuteRequest(message="Hello!", agent_id=agent_id))
        print(result.output)

        await adapter.memory.update_block(agent_id, "human", "Name: Alice\nPreferences: Concise responses")
        print([block.label for block in await adapter.memory.get_blocks(agent_id)])

        async for event in adapter.execute_stream(ExecuteRequest(message="Explain recursion", agent_id=agent_id)):
            match event.type:
                case "thinking":
                    print("(", event.thinking, ")", sep="")
                case "text":
                    print(event.content, end="")
                case "tool_call_start":
                    print("calls", event.name, "with", event.input)
                case "tool_result":
                    print("got", event.output if event.success else event.error)
                case "error":
                    print("failed:", event.message)
                case "done":
                    print("\ntokens:", event.usage.total_tokens if event.usage else 0)

        await adapter.delete_agent(agent_id)


if __name__ == "__main__":
    asyncio.run(main())
