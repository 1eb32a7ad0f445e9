from letta_client.types import Tool

from letta import Letta

client = Letta()

# Clients of the 0.1 generation have a method for it: client.tools.add_composio_tool(...)
tool = client.post("/v1/tools/composio/GITHUB_CREATE_AN_ISSUE", cast_to=Tool)
print(tool.name, tool.tool_type)

agent = client.agents.create(
    name="Reporter",
    model="letta/scripted",
    tool_ids=[tool.id],
    secrets={"COMPOSIO_ENTITY": "ann"},  # whose connected account at Composio acts
)
answer = client.agents.messages.create(
    agent.id,
    input='!script [{"call": "github_create_an_issue", "args": {"title": "Tea is cold"}}, "Reported."]',
)
for message in answer.messages:
    if message.message_type == "tool_return_message":
        print(message.tool_return)
