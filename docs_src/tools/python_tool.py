import inspect

from letta import Letta


def split_bill(total: float, people: int, tip_percent: float = 10.0) -> float:
    """What each of several people pays.

    Args:
        total: The bill without a tip.
        people: How many people share it.
        tip_percent: The tip, in percent of the bill.
    """
    return round(total * (1 + tip_percent / 100) / people, 2)


client = Letta()
tool = client.tools.upsert(source_code=inspect.getsource(split_bill))
agent = client.agents.create(name="Treasurer", model="letta/scripted", tool_ids=[tool.id])

result = client.agents.tools.run("split_bill", agent_id=agent.id, args={"total": 90, "people": 3})
print(result.status, result.func_return)

# The built-in model does what a script says; any other model decides for itself.
turn = '!script [{"call": "split_bill", "args": {"total": 90, "people": 3}}, "It is 33 for each of you."]'
for message in client.agents.messages.create(agent.id, input=turn).messages:
    print(message.message_type)
