import time
from typing import Any

from letta import Letta

client = Letta()
agent = client.agents.create(name="Reminder", model="letta/scripted")
made = client.agents.schedule.create(
    agent.id,
    messages=[{"role": "user", "content": "echo The tea is ready."}],
    schedule={"scheduled_at": (time.time() + 1) * 1000},
)

path = f"/v1/agents/{agent.id}/schedule/{made.id}/occurrences"
found: list[dict[str, Any]] = []
while not found or found[0]["run_status"] != "completed":
    time.sleep(0.1)
    found = client.get(path, cast_to=dict[str, Any])["occurrences"]
print(found[0]["outcome"], found[0]["missed"])
for message in client.runs.messages.list(found[0]["run_id"]):
    print(message.message_type)
