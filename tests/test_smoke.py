from tests.serving import Served


async def test_agent_remembers_a_name(served: Served) -> None:
    agent = await served.agent(memory_blocks=[{"label": "human", "value": ""}])
    await served.send(agent["id"], "My name is Alice.")
    answer = await served.send(agent["id"], "What is my name?")
    assert "Alice" in answer["messages"][-1]["content"]
