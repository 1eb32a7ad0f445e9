import asyncio

from letta import AsyncLetta


async def main() -> None:
    async with AsyncLetta.local(data_dir="my-agents") as client:
        agents = [await client.agents.create(name=name, model="letta/scripted") for name in ("Ann", "Ben")]
        answers = await asyncio.gather(
            *(client.agents.messages.create(agent.id, input=f"echo I am {agent.name}") for agent in agents)
        )
        for answer in answers:
            print([message.content for message in answer.messages if message.message_type == "assistant_message"])


asyncio.run(main())
