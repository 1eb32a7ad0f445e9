"""What the agent of the first sample keeps in memory: the second sample of the README."""

from letta import Letta

client = Letta()
agent = client.agents.get(agent_id="ada")
print(client.agents.blocks.retrieve("human", agent_id=agent.id).value)
