"""What the tests of arriving messages do again and again."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import httpx2
from tests.serving import Served


async def until(check: Callable[[], Awaitable[bool]]) -> None:
    """Ask again and again until it is so; ten seconds at most."""
    async with asyncio.timeout(10):
        while not await check():  # noqa: ASYNC110 - there is no event to wait for: the answer comes over HTTP
            await asyncio.sleep(0.005)


async def post(
    served: Served, agent_id: str, text: str, *, headers: dict[str, str] | None = None, **fields: Any
) -> httpx2.Response:
    """Send one user message to an agent's own thread; whatever comes back."""
    return await served.http.post(f"/v1/agents/{agent_id}/messages", json=said(text, **fields), headers=headers)


def said(text: str, *, otid: str | None = None, **fields: Any) -> dict[str, Any]:
    message = {"role": "user", "content": text} | ({"otid": otid} if otid else {})
    return {"messages": [message], **fields}


async def runs_of(served: Served, agent_id: str) -> list[dict[str, Any]]:
    """The runs of an agent, oldest first."""
    answer = await served.http.get("/v1/runs/", params={"agent_id": agent_id, "order": "asc"})
    found: list[dict[str, Any]] = answer.json()
    return found


async def waiting(served: Served, agent_id: str, number: int) -> None:
    """Until the agent has so many runs."""

    async def there() -> bool:
        return len(await runs_of(served, agent_id)) >= number

    await until(there)


async def ended(served: Served, run_id: str) -> dict[str, Any]:
    """The run, once it has ended."""
    run: dict[str, Any] = {}

    async def over() -> bool:
        run.update((await served.http.get(f"/v1/runs/{run_id}")).json())
        return run["status"] not in ("created", "running")

    await until(over)
    return run


async def talk(served: Served, agent_id: str, **params: Any) -> list[tuple[str, str]]:
    """What was said in the agent's own thread: the kind of each message and its words, or its tool's."""
    listed = (await served.http.get(f"/v1/agents/{agent_id}/messages", params=params)).json()
    return [(m["message_type"].removesuffix("_message"), words(m)) for m in listed[1:]]


def words(message: dict[str, Any]) -> str:
    if message["message_type"] in ("tool_call_message", "approval_request_message"):
        return str(message["tool_call"]["name"])
    return str(message.get("content") or message.get("tool_return") or "")


def asked(served: Served, number: int = -1) -> list[str]:
    """What users said, as the model saw it in one of its requests."""
    return [m.text for m in served.model.requests[number].messages if m.role.value == "user"]


async def waits_for_approval(served: Served) -> tuple[str, str]:
    """An agent, and its call of `memory_insert` that waits for a person. The model has to make the call."""
    agent = await served.agent(memory_blocks=[{"label": "human", "value": "Bob"}])
    url = f"/v1/agents/{agent['id']}/tools/approval/memory_insert"
    await served.http.patch(url, json={"requires_approval": True})
    [request] = (await served.send(agent["id"], "I am tall"))["messages"]
    return agent["id"], request["tool_call"]["tool_call_id"]


async def decide(served: Served, agent_id: str, call_id: str, approve: bool) -> httpx2.Response:
    """Answer a call that waits; whatever comes back."""
    decision = {"type": "approval", "tool_call_id": call_id, "approve": approve}
    body = {"messages": [{"type": "approval", "approvals": [decision]}]}
    return await served.http.post(f"/v1/agents/{agent_id}/messages", json=body)


def check_one_was_heard(answers: Sequence[httpx2.Response], block: str) -> None:
    """Of an approval and a denial of `Tall.`, one happened, and whoever gave the other one knows."""
    allowed, denied = answers
    if allowed.status_code == 200:
        assert (denied.status_code, block) == (409, "Bob\nTall.")
        assert "was approved" in denied.json()["detail"]
    else:
        assert (allowed.status_code, denied.status_code, block) == (409, 200, "Bob")
        assert "was denied" in allowed.json()["detail"]
