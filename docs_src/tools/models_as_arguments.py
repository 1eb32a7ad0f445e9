from letta import Letta

SOURCE = '''
from pydantic import BaseModel, Field


class Item(BaseModel):
    name: str = Field(description="What to order.")
    amount: int = 1


def order(items: list[Item]):
    """Order things.

    Args:
        items: Everything to order.
    """
    return sum(item.amount for item in items)
'''

client = Letta()
tool = client.tools.upsert(source_code=SOURCE)
agent = client.agents.create(name="Buyer", model="letta/scripted", tool_ids=[tool.id])
result = client.agents.tools.run(
    "order", agent_id=agent.id, args={"items": [{"name": "tea"}, {"name": "cup", "amount": 2}]}
)
print(result.func_return)
