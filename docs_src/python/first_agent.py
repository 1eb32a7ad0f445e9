from letta import Letta

client = Letta()  # the server at http://localhost:8283, or the one LETTA_BASE_URL names

agent = client.agents.create(
    name="Sam",
    model="letta/scripted",  # built in, needs no key; for example "openai/gpt-4o-mini" with one
    memory_blocks=[
        {"label": "human", "value": ""},
        {"label": "persona", "value": "I am Sam, and I remember what I am told."},
    ],
)

client.agents.messages.create(agent.id, input="My name is Alice.")
answer = client.agents.messages.create(agent.id, input="What is my name?")
for message in answer.messages:
    if message.message_type == "assistant_message":
        print(message.content)

print(client.agents.blocks.retrieve("human", agent_id=agent.id).value)
