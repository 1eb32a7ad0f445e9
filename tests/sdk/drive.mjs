// Drive a server with the TypeScript SDK: one argument, the server's URL. Prints what it saw as one JSON object.
import { Letta, NotFoundError } from "@letta-ai/letta-client";

const [, , baseURL] = process.argv;
const client = new Letta({ baseURL, apiKey: "any", maxRetries: 0, timeout: 30_000 });
const model = "openai/gpt-4o-mini";

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

// The SDK reads on after [DONE] until the connection closes: a server that left it open would stop this script here.
async function streamed(agentId, fields) {
  return collect(await client.agents.messages.create(agentId, { streaming: true, ...fields }));
}

const seen = {};
seen.health = (await client.health()).status;
const agent = await client.agents.create({
  name: "typed",
  model,
  memory_blocks: [{ label: "human", value: "" }],
  tags: ["typescript"],
});
seen.agent = [agent.model, agent.agent_type, agent.tags, agent.tools.length > 0];
seen.retrieved = (await client.agents.retrieve(agent.id, { include: ["agent.blocks", "agent.tags"] })).blocks.length;
seen.updated = (await client.agents.update(agent.id, { description: "d" })).description;

const sent = await client.agents.messages.create(agent.id, { input: "my name is Ada" });
seen.sent = [kinds(sent.messages), sent.stop_reason.stop_reason, sent.usage.step_count];
seen.kept = (await client.agents.blocks.retrieve("human", { agent_id: agent.id })).value;
seen.steps = kinds(await streamed(agent.id, { input: "my name is Eve" }));
const tokens = await streamed(agent.id, { input: "echo one two", stream_tokens: true, include_pings: false });
const pieces = tokens.filter((frame) => frame.message_type === "assistant_message");
seen.tokens = [pieces.length > 1, pieces.map((piece) => piece.content).join(""), kinds(tokens).slice(-2)];
const older = await collect(
  await client.agents.messages.stream(agent.id, { messages: [{ role: "user", content: "echo a" }] }),
);
seen.stream = kinds(older);
const broken = await failure(() => streamed(agent.id, { input: "!error auth" }));
seen.error = [broken?.constructor.name, JSON.stringify(broken?.error ?? {}).includes("llm_authentication")];

const history = await collect(await client.agents.messages.list(agent.id, { order: "asc", limit: 2 }));
seen.history = [history.length, new Set(history.map((message) => message.otid)).size];
const run = await client.agents.messages.createAsync(agent.id, { input: "!wait 30 hello" });
seen.cancelled = Object.values(await client.agents.messages.cancel(agent.id, { run_ids: [run.id] }));
const runs = await collect(await client.runs.list({ agent_id: agent.id, order: "asc", limit: 2 }));
seen.runs = [runs.length, runs[0].status, (await client.runs.retrieve(runs[0].id)).id === runs[0].id];
const steps = await collect(await client.runs.steps.list(runs[0].id, { limit: 1 }));
seen.run = [
  steps.length,
  (await client.runs.usage.retrieve(runs[0].id)).total_tokens > 0,
  (await client.steps.metrics.retrieve(steps[0].id)).id === steps[0].id,
  kinds(await collect(await client.runs.messages.list(runs[0].id))),
];

const block = await client.blocks.create({ label: "team", value: "blue" });
await client.agents.blocks.attach(block.id, { agent_id: agent.id });
await client.agents.blocks.update("team", { agent_id: agent.id, value: "red" });
seen.block = (await client.blocks.retrieve(block.id)).value;
seen.users = (await collect(await client.blocks.agents.list(block.id))).map((user) => user.id === agent.id);
await client.agents.blocks.detach(block.id, { agent_id: agent.id });
seen.labels = (await collect(await client.agents.blocks.list(agent.id))).map((one) => one.label);
const [tool] = await collect(await client.tools.list({ name: "memory_rethink" }));
const attached = await client.agents.tools.attach(tool.id, { agent_id: agent.id });
seen.tools = [attached.tools.some((one) => one.id === tool.id), (await client.tools.retrieve(tool.id)).name];
const approval = await client.agents.tools.updateApproval("memory_rethink", {
  agent_id: agent.id,
  body_requires_approval: true,
});
seen.approval = approval.tool_rules.some((rule) => rule.type === "requires_approval");
seen.models = (await client.models.list()).some((one) => one.handle === "letta/scripted");
seen.tags = (await client.tags.list()).includes("typescript");
seen.recompiled = (await client.agents.recompile(agent.id)).includes("Eve");

const missing = await failure(() => client.agents.retrieve("agent-00000000-0000-4000-8000-000000000000"));
seen.missing = [missing instanceof NotFoundError, missing?.status];
seen.unbuilt = (await failure(() => client.environments.list()))?.status;
await client.agents.delete(agent.id);
seen.deleted = (await failure(() => client.agents.retrieve(agent.id)))?.status;
process.stdout.write(JSON.stringify(seen));
