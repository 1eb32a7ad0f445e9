// Calls that wait, with the TypeScript SDK: one argument, the server's URL. Prints what it saw as one JSON object.
import { Letta, ConflictError } from "@letta-ai/letta-client";

const [, , baseURL] = process.argv;
const client = new Letta({ baseURL, apiKey: "any", maxRetries: 0, timeout: 30_000 });

const kinds = (messages) => messages.map((message) => message.message_type);
const insert = (text) => ({ call: "memory_insert", args: { label: "human", new_string: text } });
const script = (...steps) => `!script ${JSON.stringify(steps)}`;
const decide = (call, approve, reason) => ({ type: "approval", tool_call_id: call.tool_call_id, approve, reason });

async function collect(items) {
  const found = [];
  for await (const item of items) found.push(item);
  return found;
}

async function answer(agentId, approvals, fields = {}) {
  return client.agents.messages.create(agentId, { messages: [{ type: "approval", approvals }], ...fields });
}

const seen = {};
const agent = await client.agents.create({
  model: "openai/gpt-4o-mini",
  memory_blocks: [{ label: "human", value: "" }],
});
await client.agents.tools.updateApproval("memory_insert", { agent_id: agent.id, body_requires_approval: true });
const value = async () => (await client.agents.blocks.retrieve("human", { agent_id: agent.id })).value;

// Two calls wait, a third does not: one is allowed, one is not, and the answer streams.
const search = { call: "conversation_search", args: { query: "x" } };
const asked = await client.agents.messages.create(agent.id, {
  input: script([insert("one"), search, insert("two")], "Both are settled."),
});
const request = asked.messages.find((message) => message.message_type === "approval_request_message");
seen.asked = [asked.stop_reason.stop_reason, request.tool_calls.length];
try {
  await client.agents.messages.create(agent.id, { input: "hello?" });
} catch (error) {
  seen.blocked = [error instanceof ConflictError, error.error.detail.code, error.error.detail.pending_request_id === request.id];
}
const state = await client.agents.retrieve(agent.id, { include: ["agent.pending_approval"] });
seen.pending = state.pending_approval.id === request.id;
const [first, second] = request.tool_calls;
const decisions = [decide(first, true), decide(second, false, "once is enough")];
const frames = await collect(await answer(agent.id, decisions, { streaming: true, include_pings: false }));
seen.answered = kinds(frames);
seen.results = frames[0].tool_returns.map((one) => one.status);
seen.reason = frames[0].tool_returns[2].tool_return;
seen.value = await value();
const again = await answer(agent.id, decisions);
seen.again = [again.messages.length, await value()];

// While tokens stream, a request comes in pieces.
const tokens = await collect(
  await client.agents.messages.create(agent.id, {
    input: script(insert("three"), "Done."),
    streaming: true,
    stream_tokens: true,
    include_pings: false,
  }),
);
const pieces = tokens.filter((frame) => frame.message_type === "approval_request_message");
seen.pieces = [new Set(pieces.map((piece) => piece.id)).size, kinds(tokens).slice(-2)];
const done = await client.agents.messages.create(agent.id, {
  messages: [{ type: "approval", approval_request_id: pieces[0].id, approve: true }],
});
seen.older = [kinds(done.messages), await value()];

// A tool of the client's own.
const look = { name: "look", description: "Looks", parameters: { type: "object", properties: {} } };
const wanted = await client.agents.messages.create(agent.id, { input: "call look with {}", client_tools: [look] });
const result = {
  type: "tool",
  tool_call_id: wanted.messages[0].tool_call.tool_call_id,
  tool_return: "blue",
  status: "success",
};
const said = await answer(agent.id, [result], { client_tools: [look] });
seen.client = [kinds(wanted.messages), kinds(said.messages), said.messages[0].tool_return];

// What waits can be closed.
await client.agents.messages.create(agent.id, { input: script(insert("four"), "Done.") });
seen.cancelled = Object.values(await client.agents.messages.cancel(agent.id));
seen.free = kinds((await client.agents.messages.create(agent.id, { input: "echo free" })).messages);
await client.agents.delete(agent.id);
process.stdout.write(JSON.stringify(seen));
