import time
from typing import Any

from letta import Letta

client = Letta()
# The agent has no tools for its memory: the sleep-time agent keeps it.
agent = client.agents.create(
    name="Ada",
    model="letta/scripted",
    include_base_tools=False,
    enable_sleeptime=True,
    memory_blocks=[{"label": "human", "value": ""}],
)
group: Any = agent.managed_group
client.patch(
    f"/v1/groups/{group.id}",
    body={"manager_config": {"manager_type": "sleeptime", "sleeptime_agent_frequency": 1}},
    cast_to=object,
)
client.agents.messages.create(agent.id, input="My name is Grace.")

[asleep] = group.agent_ids
while not (runs := client.runs.list(agent_id=asleep).items) or runs[0].status in ("created", "running"):
    time.sleep(0.1)
print(runs[0].status, runs[0].background)
print(client.agents.blocks.retrieve("human", agent_id=agent.id).value)
