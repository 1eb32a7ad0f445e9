"""An adapter of your own, and the checks that every adapter must pass."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from openharness import (
    AdapterCapabilities,
    AdapterExecutionResult,
    DoneEvent,
    ErrorEvent,
    ExecuteRequest,
    ExecutionEvent,
    HarnessAdapter,
    TextEvent,
    UsageStats,
)
from openharness.conformance import CHECKS, Subject, name_of


class EchoAdapter(HarnessAdapter):
    """Says everything back, word by word."""

    id = "echo"
    name = "Echo"
    version = "1.0.0"
    capabilities = AdapterCapabilities(execution=True, streaming=True)

    async def execute(self, request: ExecuteRequest, **options: Any) -> AdapterExecutionResult:
        if request.session_id:
            raise ValueError("session_id is not supported: there are no sessions here")
        return AdapterExecutionResult(output=f"You said: {request.message}", usage=self._usage(request))

    async def execute_stream(self, request: ExecuteRequest, **options: Any) -> AsyncIterator[ExecutionEvent]:
        try:
            result = await self.execute(request)
        except ValueError as error:
            yield ErrorEvent(code="execution_error", message=str(error))
            return
        for word in result.output.split(" "):
            if word:
                yield TextEvent(content=word if word == "You" else f" {word}")
        yield DoneEvent(usage=result.usage)

    def _usage(self, request: ExecuteRequest) -> UsageStats:
        words = len(request.message.split())
        return UsageStats(input_tokens=words, output_tokens=words + 2, total_tokens=2 * words + 2)


async def main() -> None:
    async with EchoAdapter() as adapter:
        async for event in adapter.execute_stream(ExecuteRequest(message="hello")):
            print(event)

    subject = Subject(make=EchoAdapter, message="Say hello.")
    for check in CHECKS:
        await check(subject)
        print("passed:", name_of(check))


if __name__ == "__main__":
    asyncio.run(main())
