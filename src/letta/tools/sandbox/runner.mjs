// One call of a TypeScript or JavaScript tool, run by Node inside the sandbox: what guest.py is for Python.
// The request is on descriptor 3 and the answer goes to 4; both are JSON.
import { closeSync, existsSync, readFileSync, symlinkSync, writeFileSync, writeSync } from "node:fs";
import nodeModule, { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

class Unfit extends Error {}

const request = JSON.parse(readFileSync(3, "utf8"));
closeSync(3);
for (const name of Object.keys(process.env)) delete process.env[name];
Object.assign(process.env, request.environment);
process.on("uncaughtException", (error) => finish({ ok: false, error: told(error) }));

function finish(answer) {
  let encoded = Buffer.from(JSON.stringify(answer));
  if (encoded.length > request.limit) {
    const problem = `the tool returned ${encoded.length} bytes; at most ${request.limit} can be returned`;
    encoded = Buffer.from(JSON.stringify({ ok: false, error: `${problem}. Return a part or a summary.` }));
  }
  for (let at = 0; at < encoded.length; ) at += writeSync(4, encoded, at);
  process.exit(0);
}

function told(error) {
  if (error instanceof Unfit || !(error instanceof Error)) return String(error?.message ?? error);
  const lines = String(error.stack ?? error).split("\n");
  const kept = lines.filter((line) => !line.includes("runner.mjs") && !line.includes("node:internal"));
  return (kept.join("\n") + causes(error)).replaceAll(pathToFileURL(process.env.HOME).href + "/", "").slice(-6000);
}

// What fetch says by itself is only that it failed.
function causes(error, depth = 0) {
  const cause = error.cause;
  if (!(cause instanceof Error) || depth === 5) return "";
  return `\nCaused by ${cause.name}: ${cause.message || cause.code}${causes(cause, depth + 1)}`;
}

function plainJavaScript(source) {
  if (nodeModule.stripTypeScriptTypes) return nodeModule.stripTypeScriptTypes(source, { mode: "transform" });
  const { transform } = createRequire(join(request.modules, "any.js"))("sucrase");
  return transform(source, { transforms: ["typescript"], disableESTransforms: true }).code;
}

function result(value) {
  try {
    return value === undefined ? null : JSON.parse(JSON.stringify(value));
  } catch (error) {
    throw new Unfit(`the tool returned something that cannot be said in JSON (${error.message})`);
  }
}

try {
  const path = join(process.env.HOME, "tool.mjs");
  if (request.modules && existsSync(request.modules)) {
    symlinkSync(request.modules, join(process.env.HOME, "node_modules"), "dir");
  }
  writeFileSync(path, plainJavaScript(request.source));
  globalThis.require = createRequire(path);
  const tool = await import(pathToFileURL(path).href);
  if (request.what === "code") {
    finish({ ok: true, value: null });
  } else {
    const called = tool[request.name] ?? tool.default;
    if (typeof called !== "function") throw new Unfit(`the source exports no function called ${request.name}`);
    const unknown = Object.keys(request.arguments).filter((name) => !request.order.includes(name));
    if (unknown.length) throw new Unfit(`${request.name} has no parameter called ${unknown.join(", ")}`);
    finish({ ok: true, value: result(await called(...request.order.map((name) => request.arguments[name]))) });
  }
} catch (error) {
  finish({ ok: false, error: told(error) });
}
