// Streams that break off and go on, with the TypeScript SDK: one argument, the server's URL. Prints what it saw as JSON.
import { Letta, NotFoundError } from "@letta-ai/letta-client";

const [, , baseURL] = process.argv;
const client = new Letta({ baseURL, apiKey: "any", maxRetries: 0, timeout: 30_000 });

const kinds = (messages) => messages.map((message) => message.message_type);

async function collect(items) {
  const found = [];
  for await (const item of items) found.push(item);
  return found;
}

const seen = {};
const agent = await client.agents.create({
  model: "openai/gpt-4o-mini",
  memory_blocks: [{ label: "human", value: "" }],
});
const script = `!script ${JSON.stringify(["one two three four", "never"])}`;

// The reader leaves in the middle of a stream by token, and comes back for the rest.
const first = [];
const stream = await client.agents.messages.create(agent.id, {
  input: script,
  streaming: true,
  stream_tokens: true,
  background: true,
});
for await (const frame of stream) {
  first.push(frame);
  if (frame.seq_id === 2) break;
}
const runId = first[0].run_id;
const rest = await collect(await client.runs.messages.stream(runId, { starting_after: 2, include_pings: false }));
const pieces = [...first, ...rest].filter((frame) => frame.message_type === "assistant_message");
seen.begun = kinds(first);
seen.text = pieces.map((piece) => piece.content).join("");
seen.numbers = pieces.map((piece) => piece.seq_id).every((number, index) => number === index + 1);
seen.end = kinds(rest).slice(-2);

// The run ended long ago as far as this reader knows: it gets everything.
const again = await collect(await client.runs.messages.stream(runId, { include_pings: false }));
seen.again = again.filter((frame) => frame.content).map((frame) => frame.content).join("") === seen.text;

const failed = await client.agents.messages.createAsync(agent.id, { input: "!error auth" });
try {
  await collect(await client.runs.messages.stream(failed.id));
} catch (error) {
  seen.error = [error.constructor.name, JSON.stringify(error.error ?? {}).includes("llm_authentication")];
}
try {
  await client.runs.messages.stream("run-00000000-0000-4000-8000-000000000000");
} catch (error) {
  seen.missing = error instanceof NotFoundError;
}
await client.agents.delete(agent.id);
process.stdout.write(JSON.stringify(seen));
