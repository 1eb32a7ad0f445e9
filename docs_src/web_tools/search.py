from letta import Letta

client = Letta()
agent = client.agents.create(
    name="Scout",
    model="letta/scripted",  # a model with a key of its own decides by itself when to search
    tools=["web_search", "fetch_webpage"],
    # secrets={"TAVILY_API_KEY": "tvly-..."},  where the server's environment has no key
)

answer = client.agents.messages.create(
    agent.id,
    input='!script [{"call": "web_search", "args": {"query": "tea", "num_results": 3}}, "I looked it up."]',
)
for message in answer.messages:
    if message.message_type == "tool_return_message":
        print(message.tool_return)
