from typing import Any
from uuid import uuid4

from letta import Letta

client = Letta()
agent = client.agents.create(name="Clerk", model="letta/scripted")

order: Any = {"role": "user", "content": "Please order two pizzas.", "otid": str(uuid4())}
first = client.agents.messages.create(agent.id, messages=[order])
second = client.agents.messages.create(agent.id, messages=[order])
print(second.messages == first.messages)
print(len(client.runs.list(agent_id=agent.id).items), "run")
