import inspect

from letta import Letta


def look_up(order: str) -> str:
    """Look up an order.

    Args:
        order: Its number.
    """
    return f"{order}: paid, not sent"


def refund(order: str) -> str:
    """Pay an order back.

    Args:
        order: Its number.
    """
    return f"{order}: refunded"


client = Letta()
tools = [client.tools.upsert(source_code=inspect.getsource(function)) for function in (look_up, refund)]
agent = client.agents.create(
    name="Clerk",
    model="letta/scripted",
    include_base_tools=False,
    tool_ids=[tool.id for tool in tools],
    tool_rules=[
        {"type": "run_first", "tool_name": "look_up"},
        {"type": "max_count_per_step", "tool_name": "refund", "max_count_limit": 1},
    ],
)

calls = ["refund", "look_up", "refund", "refund"]
script = ", ".join(f'{{"call": "{name}", "args": {{"order": "A7"}}}}' for name in calls)
answer = client.agents.messages.create(agent.id, input=f'!script [{script}, "Done."]')
for message in answer.messages:
    if message.message_type == "tool_return_message":
        print(message.status, message.tool_return)
