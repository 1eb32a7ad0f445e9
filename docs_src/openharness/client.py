"""Talk to an OpenHarness server."""

import asyncio
import os

from openharness import ExecuteRequest, OpenHarnessClient, TextEvent, TransportError

BASE_URL = os.environ.get("OPENHARNESS_BASE_URL", "http://localhost:8000/v1")


async def main() -> None:
    async with OpenHarnessClient(base_url=BASE_URL, api_key="your-key") as client:
        page = await client.list_agents()
        print("agents:", [agent.name for agent in page.data])

        async for event in client.execute_stream(ExecuteRequest(message="Hello!")):
            if isinstance(event, TextEvent):
                print("text:", event.content)

        try:
            await client.get_agent("nobody")
        except TransportError as error:
            print("refused:", error.status_code)


if __name__ == "__main__":
    asyncio.run(main())
