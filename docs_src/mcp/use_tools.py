import sys
from pathlib import Path
from typing import Any

from letta import Letta

client = Letta()
config: Any = {"command": sys.executable, "args": [str(Path(__file__).with_name("clock_server.py"))]}
server = client.mcp_servers.create(server_name="clock", config=config)
tools = client.mcp_servers.tools.list(str(server.id))
print([tool.name for tool in tools])

agent = client.agents.create(model="letta/scripted", tool_ids=[tool.id for tool in tools])
answer = client.agents.messages.create(agent.id, input="call current_year with {}")
print([message.message_type for message in answer.messages])
