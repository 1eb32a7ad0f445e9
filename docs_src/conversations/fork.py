from letta import Letta

client = Letta()
agent = client.agents.create(name="Author", model="letta/scripted")
plan = client.conversations.create(agent_id=agent.id, summary="Plan")
for line in ("echo A house.", "echo A garden."):
    with client.conversations.messages.create(plan.id, input=line) as stream:
        list(stream)

said = list(client.conversations.messages.list(plan.id, order="asc"))
fork = client.conversations.fork(plan.id, message_id=said[2].id)
with client.conversations.messages.create(fork.id, input="echo A boat.") as stream:
    list(stream)

for conversation in (plan, fork):
    listed = client.conversations.messages.list(conversation.id, order="asc")
    print([message.content for message in listed if message.message_type == "assistant_message"])
