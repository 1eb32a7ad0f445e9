import httpx

from letta import Letta

client = Letta()
agent = client.agents.create(model="letta/scripted", memory_blocks=[{"label": "human", "value": ""}])
client.agents.messages.create(agent.id, input="My name is Ann.")
client.agents.messages.create(agent.id, input="My name is Bea.")

server = httpx.Client(base_url=str(client.base_url))
runs = client.runs.list(agent_id=agent.id, order="asc").items
first = client.runs.steps.list(runs[0].id, order="asc").items[-1]

past = server.get(f"/v1/steps/{first.id}/state").json()
print(past["blocks"][0]["value"])

fork = server.post(f"/v1/steps/{first.id}/fork", json={"name": "what if"}).json()
client.agents.messages.create(fork["id"], input="My name is Cleo.")
print(client.agents.blocks.retrieve("human", agent_id=fork["id"]).value)

again = server.post(f"/v1/runs/{runs[1].id}/replay", json={"model": "letta/scripted"}).json()
print(again["messages"][-1]["message_type"], again["agent"]["id"] != agent.id)
print(client.agents.blocks.retrieve("human", agent_id=agent.id).value)
