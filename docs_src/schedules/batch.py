import time
from typing import Any

from letta import Letta

client = Letta()
agents = [client.agents.create(name=name, model="letta/scripted") for name in ("Ada", "Bo")]
requests = [{"agent_id": agent.id, "input": f"echo I am {agent.name}."} for agent in agents]
batch = client.post("/v1/messages/batches", body={"requests": requests}, cast_to=dict[str, Any])
while batch["status"] in ("created", "running"):
    time.sleep(0.1)
    batch = client.get(f"/v1/messages/batches/{batch['id']}", cast_to=dict[str, Any])
print(batch["status"], batch["metadata"]["runs"])

path = f"/v1/messages/batches/{batch['id']}/messages?agent_id={agents[1].id}"
for message in client.get(path, cast_to=dict[str, Any])["messages"]:
    print(message["role"], message["content"][-1]["text"])
