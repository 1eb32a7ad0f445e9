from letta import Letta

SOURCE = """
/**
 * Say how long a text is.
 * @param text - The text.
 */
export async function measure(text: string, unit: 'letters' | 'words' = 'letters'): Promise<string> {
  const length = unit === 'words' ? text.split(/\\s+/).length : text.length;
  return `${length} ${unit}`;
}
"""

client = Letta()
tool = client.tools.upsert(source_code=SOURCE, source_type="typescript")
agent = client.agents.create(name="Scribe", model="letta/scripted", tool_ids=[tool.id])
result = client.agents.tools.run("measure", agent_id=agent.id, args={"text": "to be or not", "unit": "words"})
print(result.func_return)
