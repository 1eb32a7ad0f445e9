from letta import Letta

client = Letta()
agent = client.agents.create(
    name="Librarian",
    model="letta/scripted",
    tools=["archival_memory_insert", "archival_memory_search"],
)
client.agents.passages.create(agent.id, text="Ana, Bob's sister, lives in Lisbon.", tags=["family"])
client.agents.passages.create(agent.id, text="The boiler was serviced in May.", tags=["house"])

found = client.agents.passages.search(agent.id, query="Where does Bob's sister live?", tags=["family"])
print(found.results[0].content)

# An archive is a thing of its own: another agent can read the same one.
[archive] = client.archives.list(agent_id=agent.id).items
other = client.agents.create(name="Reader", model="letta/scripted")
client.agents.archives.attach(archive.id, agent_id=other.id)
print(client.agents.passages.search(other.id, query="boiler").count >= 1)
