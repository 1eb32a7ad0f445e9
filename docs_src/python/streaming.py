from letta import Letta

client = Letta()
agent = client.agents.create(name="Streaming Sam", model="letta/scripted")

with client.agents.messages.create(agent.id, input="write 12 words", streaming=True, stream_tokens=True) as stream:
    for frame in stream:
        if frame.message_type == "assistant_message":
            print(frame.content, end="", flush=True)
print()
