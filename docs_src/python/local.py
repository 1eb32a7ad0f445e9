from letta import Letta

with Letta.local(data_dir="my-agents") as client:
    agent = client.agents.create(
        name="Sam",
        model="letta/scripted",
        memory_blocks=[{"label": "human", "value": ""}],
    )
    client.agents.messages.create(agent.id, input="My name is Alice.")

with Letta.local(data_dir="my-agents") as client:  # later: everything is still there
    answer = client.agents.messages.create(client.agents.get("Sam").id, input="What is my name?")
    print([message.content for message in answer.messages if message.message_type == "assistant_message"])
