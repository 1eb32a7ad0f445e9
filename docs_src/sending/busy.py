from typing import Any

from letta_client import ConflictError

from letta import Letta

client = Letta()
agent = client.agents.create(name="Busy", model="letta/scripted")
long_work = '!script [[{"wait": 1}, {"call": "conversation_search", "args": {"query": "plans"}}], {"wait": 1}, "Done."]'
run = client.agents.messages.create_async(agent.id, input=long_work)

try:
    client.agents.messages.create(agent.id, input="Are you there?", extra_body={"busy_policy": "reject"})
except ConflictError as error:
    body: Any = error.body
    print("busy with this run:", body["run_id"] == run.id)

heard = client.agents.messages.create(agent.id, input="Make it short!", extra_body={"busy_policy": "steer"})
print(heard.stop_reason.stop_reason, [message.message_type for message in heard.messages])

said = [m.content for m in client.agents.messages.list(agent.id).items if m.message_type == "user_message"]
print("heard during the first run:", said == [long_work, "Make it short!"])
