from typing import Any

from letta import Letta

client = Letta()
agent = client.agents.create(name="Careful", model="letta/scripted", memory_blocks=[{"label": "human", "value": ""}])
client.agents.tools.update_approval("memory_insert", agent_id=agent.id, body_requires_approval=True)

asked = client.agents.messages.create(agent.id, input="My name is Alice.")
request: Any = asked.messages[-1]
print(asked.stop_reason.stop_reason, request.tool_call.name, request.tool_call.arguments)

answer = client.agents.messages.create(
    agent.id,
    messages=[
        {
            "type": "approval",
            "approvals": [{"type": "approval", "tool_call_id": request.tool_call.tool_call_id, "approve": True}],
        }
    ],
)
print([message.message_type for message in answer.messages])
print(client.agents.blocks.retrieve("human", agent_id=agent.id).value)
