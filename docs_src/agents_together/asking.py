from letta import Letta

client = Letta()
ann = client.agents.create(name="ann", model="letta/scripted")
boss = client.agents.create(name="boss", model="letta/scripted", tools=["send_message_to_agent_and_wait_for_reply"])

question = f'{{"other_agent_id": "{ann.id}", "message": "what is 2 + 3?"}}'
answer = client.agents.messages.create(boss.id, input=f"call send_message_to_agent_and_wait_for_reply with {question}")
for message in answer.messages:
    if message.message_type == "tool_return_message":
        print(message.tool_return)
