from letta import Letta

client = Letta()
[tool] = client.tools.list(name="run_code").items
agent = client.agents.create(name="Programmer", model="letta/scripted", tool_ids=[tool.id])
args: dict[str, object] = {"language": "python", "code": "print(sum(range(101)))"}
print(client.agents.tools.run("run_code", agent_id=agent.id, args=args).func_return)
