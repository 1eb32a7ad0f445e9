from letta import Letta

client = Letta()
agent = client.agents.create(name="Secretary", model="letta/scripted", timezone="Europe/Berlin")
made = client.agents.schedule.create(
    agent.id,
    messages=[{"role": "user", "content": "What is planned for today?"}],
    schedule={"type": "recurring", "cron_expression": "30 8 * * 1-5"},
)
[shown] = client.agents.schedule.list(agent.id).scheduled_messages
print(shown.id == made.id, shown.next_scheduled_time == made.next_scheduled_at)
print(client.agents.schedule.delete(made.id, agent_id=agent.id).success)
