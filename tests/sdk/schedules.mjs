// Every method of `agents.schedule` with the TypeScript SDK: one argument, the server's URL. Prints what it saw as JSON.
import { Letta, NotFoundError } from "@letta-ai/letta-client";

const [, , baseURL] = process.argv;
const client = new Letta({ baseURL, apiKey: "any", maxRetries: 0, timeout: 30_000 });
const seen = {};

const agent = await client.agents.create({ model: "letta/scripted" });
const made = await client.agents.schedule.create(agent.id, {
  messages: [{ role: "user", content: "echo later" }],
  schedule: { type: "recurring", cron_expression: "*/5 * * * *" },
});
seen.made = [typeof made.id, new Date(made.next_scheduled_at) > new Date()];
const page = await client.agents.schedule.list(agent.id, { limit: "5" });
seen.listed = [page.has_next_page, page.scheduled_messages.map((one) => one.id === made.id)];
const shown = await client.agents.schedule.retrieve(made.id, { agent_id: agent.id });
seen.shown = [shown.schedule.cron_expression, shown.message.messages[0].content, shown.next_scheduled_time];
seen.same = seen.shown.pop() === made.next_scheduled_at;
seen.deleted = (await client.agents.schedule.delete(made.id, { agent_id: agent.id })).success;
try {
  await client.agents.schedule.retrieve(made.id, { agent_id: agent.id });
} catch (error) {
  seen.missing = error instanceof NotFoundError;
}
console.log(JSON.stringify(seen));
