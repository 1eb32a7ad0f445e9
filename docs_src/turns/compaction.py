from letta import Letta

client = Letta()
agent = client.agents.create(
    name="Chatty",
    model="letta/scripted",
    compaction_settings={"mode": "sliding_window", "sliding_window_percentage": 0.5},
)
for number in range(6):
    client.agents.messages.create(agent.id, input=f"Story number {number}: once upon a time there was a fox.")

done = client.agents.messages.compact(agent.id)
print(done.num_messages_before, "->", done.num_messages_after)

everything = client.agents.messages.list(agent.id, limit=100)
print(sum(message.message_type == "user_message" for message in everything.items) >= 6)
