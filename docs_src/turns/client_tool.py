import json
from typing import Any

from letta import Letta

TOOLS: Any = [
    {
        "name": "temperature",
        "description": "The temperature of a room, in degrees Celsius",
        "parameters": {"type": "object", "properties": {"room": {"type": "string"}}, "required": ["room"]},
    }
]

client = Letta()
agent = client.agents.create(name="Caretaker", model="letta/scripted")
asked = client.agents.messages.create(agent.id, input='call temperature with {"room": "kitchen"}', client_tools=TOOLS)
request: Any = asked.messages[-1]
call = request.tool_call
room = json.loads(call.arguments)["room"]

answer = client.agents.messages.create(
    agent.id,
    messages=[
        {
            "type": "approval",
            "approvals": [
                {
                    "type": "tool",
                    "tool_call_id": call.tool_call_id,
                    "tool_return": f"21 in the {room}",
                    "status": "success",
                }
            ],
        }
    ],
    client_tools=TOOLS,
)
said: Any = answer.messages[-1]
print(said.content)
