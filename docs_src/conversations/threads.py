from letta import Letta

client = Letta()
agent = client.agents.create(
    name="Guide",
    model="letta/scripted",
    memory_blocks=[{"label": "human", "value": ""}, {"label": "notes", "value": ""}],
)


def say(conversation_id: str, text: str) -> str:
    with client.conversations.messages.create(conversation_id, input=text) as stream:
        said = [message for message in stream if message.message_type == "assistant_message"]
    return str(said[-1].content)


morning = client.conversations.create(agent_id=agent.id, summary="Breakfast")
evening = client.conversations.create(
    agent_id=agent.id, summary="Dinner", extra_body={"isolated_block_labels": ["notes"]}
)
say(morning.id, "My name is Alice.")
print(say(evening.id, "What is my name?"))
print([conversation.summary for conversation in client.conversations.list(agent_id=agent.id)])
print(len(list(client.conversations.messages.list(morning.id))), len(list(client.agents.messages.list(agent.id))))
