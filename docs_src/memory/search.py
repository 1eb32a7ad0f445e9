from letta import Letta

client = Letta()
agent = client.agents.create(
    name="Listener",
    model="letta/scripted",
    initial_message_sequence=[
        {"role": "user", "content": "We booked two weeks in Lisbon."},
        {"role": "assistant", "content": "How nice! Enjoy the sea."},
    ],
)
found = client.messages.search(query="Lisbon", agent_id=agent.id, limit=5)
best = found[0]
if best.message_type == "user_message":
    print(best.content)
