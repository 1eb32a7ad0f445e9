"""The request to a provider, shown and not sent, is the one that is sent."""

from typing import Any

from tests.api.test_conversations import conversation, listed, say
from tests.serving import Served

NO_ONE = "agent-00000000-0000-4000-8000-000000000000"


async def shown(served: Served, path: str, text: str, **fields: Any) -> Any:
    return await served.http.post(f"{path}/messages/preview-raw-payload", json={"input": text, **fields})


async def test_what_is_shown_is_what_is_sent(served: Served) -> None:
    agent = await served.agent(memory_blocks=[{"label": "human", "value": "Bob"}])
    await served.send(agent["id"], "echo one")
    preview = await shown(served, f"/v1/agents/{agent['id']}", "echo two")
    calls, before = len(served.model.requests), await listed(served, agent["id"])
    await served.send(agent["id"], "echo two")
    sent = served.model.requests[-1]
    newest = (await served.http.get("/v1/steps", params={"agent_id": agent["id"], "limit": 1})).json()[0]
    trace = (await served.http.get(f"/v1/steps/{newest['id']}/trace")).json()
    assert (calls, len(before)) == (1, 3)
    assert preview.json() == trace["request_json"]
    assert preview.json()["messages"][-1] == {"role": "user", "content": ["echo two"]}
    assert "Bob" in "\n".join(sent.system)


async def test_conversation_is_shown_with_its_own_model_and_window(served: Served) -> None:
    agent = await served.agent()
    made = await conversation(served, agent["id"], model="openai/gpt-4o")
    await say(served, made["id"], "echo one")
    preview = (await shown(served, f"/v1/conversations/{made['id']}", "echo two")).json()
    own = (await shown(served, "/v1/conversations/default", "echo two", agent_id=agent["id"])).json()
    other = (await shown(served, f"/v1/conversations/{made['id']}", "x", override_system="Be brief.")).json()
    assert preview["model"] == "gpt-4o"
    assert [message["content"] for message in preview["messages"]] == [["echo one"], ["one"], ["echo two"]]
    assert len(own["messages"]) == 1
    assert other["system"] == "Be brief."


async def test_what_cannot_be_shown_says_why(served: Served) -> None:
    agent = await served.agent()
    approval = {"type": "approval", "approvals": [{"type": "approval", "tool_call_id": "call-1", "approve": True}]}
    path = f"/v1/agents/{agent['id']}/messages/preview-raw-payload"
    answers = [
        await served.http.post(path, json={"messages": [approval]}),
        await served.http.post(f"/v1/agents/{NO_ONE}/messages/preview-raw-payload", json={"input": "hi"}),
        await served.http.post(path, json={}),
    ]
    assert [answer.status_code for answer in answers] == [422, 404, 422]
