from typing import Any

from letta import Letta

client = Letta()
ann = client.agents.create(name="ann", model="letta/scripted")
ben = client.agents.create(name="ben", model="letta/scripted")
group: Any = client.post(
    "/v1/groups/",
    body={
        "agent_ids": [ann.id, ben.id],
        "description": "Two who talk",
        "manager_config": {"manager_type": "round_robin", "max_turns": 3},
    },
    cast_to=object,
)
answer: Any = client.post(f"/v1/groups/{group['id']}/messages", body={"input": "echo Good morning."}, cast_to=object)
for message in answer["messages"]:
    print(message["name"], message["message_type"])
print(len(answer["usage"]["run_ids"]), "runs")
