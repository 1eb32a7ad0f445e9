from letta import Letta

SOURCE = '''
def note(text: str, agent_state):
    """Write a note for the user.

    Args:
        text: What to write.
    """
    import os

    print("my key is", os.environ["NOTES_KEY"])
    block = client.agents.blocks.retrieve("notes", agent_id=agent_state.id)
    client.agents.blocks.update("notes", agent_id=agent_state.id, value=block.value + text)
    return f"{agent_state.name} wrote it down."
'''

client = Letta()
tool = client.tools.upsert(source_code=SOURCE)
agent = client.agents.create(
    name="Secretary",
    model="letta/scripted",
    memory_blocks=[{"label": "notes", "value": ""}],
    tool_ids=[tool.id],
    secrets={"NOTES_KEY": "a-secret-key"},
)
result = client.agents.tools.run("note", agent_id=agent.id, args={"text": "Buy milk."})
print(result.func_return)
print(result.stdout)
print(client.agents.blocks.retrieve("notes", agent_id=agent.id).value)
