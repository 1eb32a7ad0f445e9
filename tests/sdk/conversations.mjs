// Every method of `conversations` with the TypeScript SDK: one argument, the server's URL. Prints what it saw as JSON.
import { Letta, ConflictError, NotFoundError } from "@letta-ai/letta-client";

const [, , baseURL] = process.argv;
const client = new Letta({ baseURL, apiKey: "any", maxRetries: 0, timeout: 30_000 });

const kinds = (messages) => messages.map((message) => message.message_type);

async function collect(items) {
  const found = [];
  for await (const item of items) found.push(item);
  return found;
}

async function failure(action) {
  try {
    await action();
    return null;
  } catch (error) {
    return error;
  }
}

async function say(conversationId, input, fields = {}) {
  return collect(await client.conversations.messages.create(conversationId, { input, ...fields }));
}

const seen = {};
const agent = await client.agents.create({
  model: "openai/gpt-4o-mini",
  memory_blocks: [{ label: "human", value: "" }],
});
const made = await client.conversations.create({ agent_id: agent.id, summary: "Trip", model: "openai/gpt-4o" });
seen.made = [made.agent_id === agent.id, made.summary, made.model];
const changed = await client.conversations.update(made.id, { summary: "Travel", model: null });
seen.changed = [changed.summary, changed.model];
seen.listed = (await client.conversations.list({ agent_id: agent.id, summary_search: "travel" })).length;
seen.said = kinds(await say(made.id, "my name is Ada"));
seen.shared = (await client.agents.blocks.retrieve("human", { agent_id: agent.id })).value;
seen.messages = kinds(await collect(await client.conversations.messages.list(made.id, { limit: 2 })));
const fork = await client.conversations.fork(made.id);
await say(fork.id, "echo two");
seen.forked = [
  (await collect(await client.conversations.messages.list(made.id))).length,
  (await collect(await client.conversations.messages.list(fork.id))).length,
];
seen.own = kinds(await say("default", "echo three", { agent_id: agent.id }));
seen.recompiled = (await client.conversations.recompile(fork.id)).includes(fork.id);
seen.compacted = (await client.conversations.messages.compact(fork.id)).num_messages_before;
seen.idle = (await failure(() => client.conversations.cancel(made.id))) instanceof ConflictError;
const waiting = await client.conversations.messages.create(made.id, { input: "!wait 30 hello" });
const frames = waiting[Symbol.asyncIterator]();
await frames.next();
seen.cancelled = Object.values(await client.conversations.cancel(made.id));
seen.rest = kinds(await collect({ [Symbol.asyncIterator]: () => frames }));
await client.conversations.delete(made.id);
seen.deleted = (await failure(() => client.conversations.retrieve(made.id))) instanceof NotFoundError;
seen.kept = (await collect(await client.conversations.messages.list(fork.id))).length;
await client.agents.delete(agent.id);
process.stdout.write(JSON.stringify(seen));
