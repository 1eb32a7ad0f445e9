from typing import Any

from letta_client import APIStatusError

from letta import Letta

client = Letta()
agent = client.agents.create(name="Slow", model="letta/scripted")

try:
    client.agents.messages.create(agent.id, input="!wait 30 hello", extra_body={"deadline_seconds": 0.5})
except APIStatusError as error:
    body: Any = error.body
    print(error.status_code, body["detail"].removeprefix("run ").partition(" ")[2])

[run] = client.runs.list(agent_id=agent.id).items
why: Any = run.metadata
print(run.status, why["error"]["type"])
