from letta import Letta

client = Letta()
agent = client.agents.create(name="Old Sam", llm="letta/scripted")  # now: model
client.agents.modify(agent.id, description="written years ago")  # now: update

for frame in client.agents.messages.create_stream(  # now: create(streaming=True)
    agent.id, messages=[{"role": "user", "content": "echo still works"}]
):
    if frame.message_type == "assistant_message":
        print(frame.content)
