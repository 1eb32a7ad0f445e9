"""An agent that learns a name: the first sample of the README."""

from letta import Letta

client = Letta()
agent = client.agents.create(name="ada", model="letta/scripted", memory_blocks=[{"label": "human", "value": ""}])
for text in ("My name is Grace.", "What is my name?"):
    answer = client.agents.messages.create(agent.id, input=text)
    print(*(message.content for message in answer.messages if message.message_type == "assistant_message"))
