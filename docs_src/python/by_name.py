from letta import Letta

client = Letta()
client.agents.create(name="Named Sam", model="letta/scripted")

agent = client.agents.get("Named Sam")  # or an id
client.agents.update(agent.id, description="found by name")
print(client.agents.get(agent.id).description)
