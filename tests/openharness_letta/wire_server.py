"""A small server that speaks the Letta V1 wire format, for what a healthy server does not do on demand.

State is in memory. An agent says "You said: ..." with a thought before it, or plays the steps that a message beginning
with `!script` holds as JSON: a text, `{"think": text}`, `{"call": tool, "args": {...}}`, `{"die": true}` (the
connection breaks), `{"gate": true}` (wait until the test opens `gate`), `{"frame": {...}}` (sent as it is),
`{"end": reason}`, or a list of those in one model call. `plans` holds such steps for other messages.
"""

import asyncio
import itertools
import json
import threading
import uuid
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from tests.openharness.serving import serving

BASE_TOOLS = ("conversation_search", "memory_insert", "memory_replace")
USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
Json = dict[str, Any]


@dataclass
class Agent:
    """An agent, what is left of its script, and the calls it waits with."""

    state: Json
    blocks: list[str] = field(default_factory=list)
    tools: list[str] = field(default_factory=list)
    archive: list[Json] = field(default_factory=list)
    script: list[Any] = field(default_factory=list)
    pending: list[Json] = field(default_factory=list)


class WireServer:
    """The server's state, open for tests to look at and to change."""

    def __init__(self) -> None:
        self.base_url = ""
        self.agents: dict[str, Agent] = {}
        self.blocks: dict[str, Json] = {}
        self.tools: dict[str, Json] = {}
        self.bodies: list[Json] = []
        self.keys: set[str | None] = set()
        self.approval_needed: set[str] = set()
        self.unknown_handles: set[str] = set()
        self.plans: dict[str, list[Any]] = {}
        self.busy = 0
        self.conflict = ""
        self.cancels = True
        self.cancelled: list[str] = []
        self.refuses_empty = False
        self.model_refuses_empty = False
        self.streams = 0
        self.idle = threading.Event()
        self.gate = threading.Event()
        self.gated = threading.Semaphore(0)
        self._clock = itertools.count()
        for name in BASE_TOOLS:
            self.add_tool(name, "letta_core")

    def add_tool(self, name: str, tool_type: str, **more: Any) -> Json:
        schema = {"name": name, "description": f"Does {name}", "parameters": {"type": "object", "properties": {}}}
        tool = {**self.new("tool"), "name": name, "tool_type": tool_type, "json_schema": schema, "tags": [], **more}
        self.tools[tool["id"]] = tool
        return tool

    def new(self, prefix: str) -> Json:
        """An id and a creation time, later than every other."""
        made = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=next(self._clock))
        return {"id": f"{prefix}-{uuid.uuid4()}", "created_at": made.isoformat()}

    # agents

    async def create_agent(self, request: Request) -> Response:
        body = await request.json()
        for key in ("model", "embedding"):
            if body.get(key) in self.unknown_handles:
                raise HTTPException(404, f"NOT_FOUND: Handle {body[key]} not found, must be one of []")
        kept = ("name", "model", "embedding", "system", "metadata", "tags", "description")
        state = {**self.new("agent"), **{key: body.get(key) for key in kept}}
        names = [*body.get("tools", []), *(BASE_TOOLS if body.get("include_base_tools") else ())]
        agent = Agent(state, tools=[self.named(name)["id"] for name in names])
        agent.blocks = [self.new_block(block)["id"] for block in body.get("memory_blocks", [])]
        self.agents[state["id"]] = agent
        return JSONResponse(state)

    def named(self, name: str) -> Json:
        found = next((tool for tool in self.tools.values() if tool["name"] == name), None)
        if found is None:
            raise HTTPException(400, f"INVALID_ARGUMENT: tool {name} does not exist")
        return found

    def agent(self, request: Request) -> Agent:
        agent_id = request.path_params["agent_id"]
        if not agent_id.startswith("agent-"):
            raise HTTPException(422, f"[{{'type': 'string_pattern_mismatch', 'input': '{agent_id}'}}]")
        if agent_id not in self.agents:
            raise HTTPException(404, "NOT_FOUND: no such object")
        return self.agents[agent_id]

    async def list_agents(self, request: Request) -> Response:
        tags, name = request.query_params.getlist("tags"), request.query_params.get("name")
        found = [
            agent.state
            for agent in self.agents.values()
            if (not tags or set(tags) & set(agent.state["tags"] or [])) and name in (None, agent.state["name"])
        ]
        return self.page(request, found)

    async def get_agent(self, request: Request) -> Response:
        agent = self.agent(request)
        pending = {"id": "message-1", "tool_calls": agent.pending} if agent.pending else None
        return JSONResponse({**agent.state, "pending_approval": pending})

    async def patch_agent(self, request: Request) -> Response:
        agent, body = self.agent(request), await request.json()
        agent.tools = body.pop("tool_ids", agent.tools)
        agent.state.update(body)
        return JSONResponse(agent.state)

    async def delete_agent(self, request: Request) -> Response:
        del self.agents[self.agent(request).state["id"]]
        return JSONResponse({"message": "deleted"})

    def page(self, request: Request, items: list[Json]) -> Response:
        """At most three items, to make callers turn pages; the cursor is the last id of the page before."""
        after = request.query_params.get("after")
        ids = [item["id"] for item in items]
        start = ids.index(after) + 1 if after in ids else 0
        return JSONResponse(items[start : start + 3])

    # blocks

    def new_block(self, body: Json) -> Json:
        block = {**self.new("block"), **body}
        self.blocks[block["id"]] = block
        return block

    async def create_block(self, request: Request) -> Response:
        return JSONResponse(self.new_block(await request.json()))

    async def delete_block(self, request: Request) -> Response:
        if request.path_params["block_id"] not in self.blocks:
            raise HTTPException(404, "NOT_FOUND: no such object")
        del self.blocks[request.path_params["block_id"]]
        return JSONResponse(None)

    async def block_agents(self, request: Request) -> Response:
        block_id = request.path_params["block_id"]
        return self.page(request, [agent.state for agent in self.agents.values() if block_id in agent.blocks])

    async def agent_blocks(self, request: Request) -> Response:
        return self.page(request, [self.blocks[block_id] for block_id in self.agent(request).blocks])

    async def patch_agent_block(self, request: Request) -> Response:
        label = request.path_params["label"]
        for block_id in self.agent(request).blocks:
            if self.blocks[block_id]["label"] == label:
                self.blocks[block_id].update(await request.json())
                return JSONResponse(self.blocks[block_id])
        raise HTTPException(404, f"NOT_FOUND: block {label} not found")

    async def attach_block(self, request: Request) -> Response:
        agent, block = self.agent(request), self.blocks[request.path_params["block_id"]]
        if any(self.blocks[had]["label"] == block["label"] for had in agent.blocks):
            raise HTTPException(409, f"the agent has a block {block['label']}")
        agent.blocks.append(block["id"])
        return JSONResponse(agent.state)

    async def detach_block(self, request: Request) -> Response:
        agent = self.agent(request)
        agent.blocks.remove(request.path_params["block_id"])
        return JSONResponse(agent.state)

    # tools

    async def list_tools(self, request: Request) -> Response:
        name = request.query_params.get("name")
        return self.page(request, [tool for tool in self.tools.values() if name in (None, tool["name"])])

    async def get_tool(self, request: Request) -> Response:
        if request.path_params["tool_id"] not in self.tools:
            raise HTTPException(404, "NOT_FOUND: no such object")
        return JSONResponse(self.tools[request.path_params["tool_id"]])

    async def put_tool(self, request: Request) -> Response:
        body = await request.json()
        name = body["source_code"].split("def ")[1].split("(")[0]
        old = next((tool for tool in self.tools.values() if tool["name"] == name), None)
        tool = old or self.add_tool(name, "custom")
        tool.update(body)
        return JSONResponse(tool)

    async def delete_tool(self, request: Request) -> Response:
        tool = self.tools.pop(request.path_params["tool_id"])
        for agent in self.agents.values():
            agent.tools = [tool_id for tool_id in agent.tools if tool_id != tool["id"]]
        return JSONResponse(None)

    async def agent_tools(self, request: Request) -> Response:
        return self.page(request, [self.tools[tool_id] for tool_id in self.agent(request).tools])

    async def attach_tool(self, request: Request) -> Response:
        agent, tool_id = self.agent(request), request.path_params["tool_id"]
        agent.tools = [*agent.tools, tool_id] if tool_id not in agent.tools else agent.tools
        return JSONResponse(None)

    async def run_tool(self, request: Request) -> Response:
        name, args = request.path_params["name"], (await request.json())["args"]
        if name not in {self.tools[tool_id]["name"] for tool_id in self.agent(request).tools}:
            raise HTTPException(404, f"NOT_FOUND: tool {name} not found on the agent")
        if args.get("fail"):
            return JSONResponse({"status": "error", "func_return": "it failed", "stdout": [], "stderr": []})
        return JSONResponse({"status": "success", "func_return": f"{name} ran with {json.dumps(args)}"})

    async def run_mcp_tool(self, request: Request) -> Response:
        tool = self.tools[request.path_params["tool_id"]]
        server = request.path_params["server_id"]
        return JSONResponse({"status": "success", "func_return": f"{tool['name']} ran at {server}"})

    # archive

    async def add_passage(self, request: Request) -> Response:
        body = await request.json()
        passage = {**self.new("passage"), "text": body["text"], "tags": body.get("tags")}
        self.agent(request).archive.append(passage)
        return JSONResponse([passage])

    async def search_passages(self, request: Request) -> Response:
        query, top = request.query_params["query"], int(request.query_params["top_k"])
        found = [
            {"id": kept["id"], "timestamp": kept["created_at"], "content": kept["text"], "tags": kept["tags"]}
            for kept in self.agent(request).archive
            if query in kept["text"]
        ]
        return JSONResponse({"results": found[:top], "count": len(found[:top])})

    # messages

    async def stream(self, request: Request) -> Response:
        body, agent = await request.json(), self.agent(request)
        self.bodies.append(body)
        self.keys.add(request.headers.get("authorization"))
        if self.busy:
            self.busy -= 1
            other = {"detail": {"code": "CONVERSATION_BUSY", "message": "busy"}}
            return JSONResponse(other if self.busy else {"detail": "busy", "run_id": "run-1"}, 409)
        if self.conflict:
            raise HTTPException(409, self.conflict)
        [*_, last] = body["messages"]
        if last.get("type") == "approval":
            returns = self.answered(agent, last["approvals"])
        else:
            returns = []
            if agent.pending:
                detail = {"code": "PENDING_APPROVAL", "message": "waiting", "pending_request_id": "message-1"}
                return JSONResponse({"detail": detail}, 409)
            if not last["content"].strip() and self.refuses_empty:
                return JSONResponse({"detail": "a message must not be empty"}, 422)
            if body.get("override_model") in self.unknown_handles:
                raise HTTPException(404, f"NOT_FOUND: Handle {body['override_model']} not found")
            agent.script = list(self.plans.get(last["content"]) or scripted(last["content"]))
            if not last["content"].strip() and self.model_refuses_empty:
                agent.script = [[{"end": "llm_api_error"}]]
        return StreamingResponse(self.sse(agent, body, returns), media_type="text/event-stream")

    async def cancel(self, request: Request) -> Response:
        """Close what waits, and stop; a server that does not follow its runs (`cancels` is false) refuses."""
        agent, run_ids = self.agent(request), (await request.json())["run_ids"]
        if not self.cancels:
            raise HTTPException(400, "Agent run tracking is disabled")
        self.cancelled += run_ids
        agent.pending, agent.script = [], []
        return JSONResponse(dict.fromkeys(run_ids, "cancelled"))

    def answered(self, agent: Agent, approvals: list[Json]) -> list[Json]:
        """The tool returns that decisions lead to; results of client tools come back as they were sent."""
        calls = {call["tool_call_id"]: call for call in agent.pending}
        if set(calls) != {given["tool_call_id"] for given in approvals}:
            raise HTTPException(400, f"INVALID_ARGUMENT: {approvals} do not answer {sorted(calls)}")
        agent.pending = []
        return [
            {"tool_call_id": given["tool_call_id"], "tool_return": given["tool_return"], "status": given["status"]}
            if given["type"] == "tool"
            else self.returned(calls[given["tool_call_id"]])
            if given["approve"]
            else {
                "tool_call_id": given["tool_call_id"],
                "tool_return": f"denied: {given.get('reason')}",
                "status": "error",
            }
            for given in approvals
        ]

    def returned(self, call: Json) -> Json:
        failed = "fail" in call["arguments"]
        text = "it failed" if failed else f"{call['name']} ran with {call['arguments']}"
        return {"tool_call_id": call["tool_call_id"], "tool_return": text, "status": "error" if failed else "success"}

    async def sse(self, agent: Agent, body: Json, returns: list[Json]) -> AsyncGenerator[str, None]:
        self.streams += 1
        yield data(message_type="ping", run_id="run-1")
        try:
            async for frame in self.frames(agent, body, returns):
                yield frame
        finally:
            self.streams -= 1
            if not self.streams:
                self.idle.set()

    async def frames(self, agent: Agent, body: Json, returns: list[Json]) -> AsyncGenerator[str, None]:
        tokens = bool(body.get("stream_tokens"))
        for given in returns:
            yield tool_return(given)
        reason = "end_turn"
        while agent.script:
            step = agent.script.pop(0)
            items = step if isinstance(step, list) else [step]
            async for frame in self.played(items, tokens):
                yield frame
            reason = next((item["end"] for item in items if isinstance(item, dict) and "end" in item), reason)
            calls = [called(item) for item in items if isinstance(item, dict) and "call" in item]
            local = {tool["name"] for tool in body.get("client_tools") or []} | self.approval_needed
            waiting = [call for call in calls if call["name"] in local]
            running = [call for call in calls if call["name"] not in local]
            for frame in [*requested("tool_call_message", running, tokens), *map(tool_return, self.ran(running))]:
                yield frame
            for frame in requested("approval_request_message", waiting, tokens):
                yield frame
            if waiting:
                agent.pending, reason = waiting, "requires_approval"
                break
        yield data(message_type="stop_reason", stop_reason=reason)
        if reason == "llm_api_error":
            yield "event: error\n" + data(message_type="error_message", error_type="llm_error", message="no luck")
        else:
            yield data(message_type="usage_statistics", step_count=1, **USAGE)
        yield "data: [DONE]\n\n"

    def ran(self, calls: list[Json]) -> list[Json]:
        return [self.returned(call) for call in calls]

    async def played(self, items: list[Any], tokens: bool) -> AsyncGenerator[str, None]:
        """What a model call says; its calls come afterwards."""
        for item in items:
            if item == {"gate": True}:
                self.gated.release()
                await asyncio.to_thread(self.gate.wait, 10)
            elif item == {"die": True}:
                raise RuntimeError("the server dies")
            else:
                for frame in said(item, f"{uuid.uuid4()}", tokens):
                    yield frame

    def app(self) -> Starlette:
        agent = "/v1/agents/{agent_id}"
        routes = [
            ("POST", "/v1/agents/", self.create_agent),
            ("GET", "/v1/agents/", self.list_agents),
            ("GET", agent, self.get_agent),
            ("PATCH", agent, self.patch_agent),
            ("DELETE", agent, self.delete_agent),
            ("POST", f"{agent}/messages/stream", self.stream),
            ("POST", f"{agent}/messages/cancel", self.cancel),
            ("GET", f"{agent}/core-memory/blocks", self.agent_blocks),
            ("PATCH", f"{agent}/core-memory/blocks/attach/{{block_id}}", self.attach_block),
            ("PATCH", f"{agent}/core-memory/blocks/detach/{{block_id}}", self.detach_block),
            ("PATCH", f"{agent}/core-memory/blocks/{{label}}", self.patch_agent_block),
            ("POST", f"{agent}/archival-memory", self.add_passage),
            ("GET", f"{agent}/archival-memory/search", self.search_passages),
            ("GET", f"{agent}/tools", self.agent_tools),
            ("PATCH", f"{agent}/tools/attach/{{tool_id}}", self.attach_tool),
            ("POST", f"{agent}/tools/{{name}}/run", self.run_tool),
            ("POST", "/v1/mcp-servers/{server_id}/tools/{tool_id}/run", self.run_mcp_tool),
            ("POST", "/v1/blocks/", self.create_block),
            ("DELETE", "/v1/blocks/{block_id}", self.delete_block),
            ("GET", "/v1/blocks/{block_id}/agents", self.block_agents),
            ("GET", "/v1/tools/", self.list_tools),
            ("PUT", "/v1/tools/", self.put_tool),
            ("GET", "/v1/tools/{tool_id}", self.get_tool),
            ("DELETE", "/v1/tools/{tool_id}", self.delete_tool),
        ]
        handlers = {HTTPException: refused}
        table = [Route(path, endpoint, methods=[method]) for method, path, endpoint in routes]
        return Starlette(routes=table, exception_handlers=handlers)  # type: ignore[arg-type] # narrower than Exception


async def refused(request: Request, error: HTTPException) -> Response:
    return JSONResponse({"detail": error.detail}, error.status_code)


def scripted(text: str) -> list[Any]:
    if text.startswith("!script "):
        steps: list[Any] = json.loads(text.removeprefix("!script "))
        return steps
    return [[{"think": "The user speaks."}, f"You said: {text}"]]


def called(item: Json) -> Json:
    args = item.get("args", {})
    arguments = args if isinstance(args, str) else json.dumps(args)
    return {"tool_call_id": f"call-{uuid.uuid4()}", "name": item["call"], "arguments": arguments}


def data(**frame: Any) -> str:
    return f"data: {json.dumps(frame)}\n\n"


def said(item: Any, otid: str, tokens: bool) -> Iterator[str]:
    """Frames of a text, a thought or a raw frame; words one by one if tokens are wanted."""
    if isinstance(item, str):
        kind, key, text = "assistant_message", "content", item
    elif "think" in item:
        kind, key, text = "reasoning_message", "reasoning", item["think"]
    else:
        if "frame" in item:
            yield data(**item["frame"])
        return
    pieces = [word + " " for word in text.split(" ")] if tokens else [text]
    for piece in [*pieces[:-1], pieces[-1].removesuffix(" ") if tokens else pieces[-1]]:
        yield data(message_type=kind, id="message-1", otid=otid, **{key: piece})


def requested(kind: str, calls: list[Json], tokens: bool) -> Iterator[str]:
    """Calls as one list of whole ones, or as deltas that take turns, each naming its call."""
    if not calls:
        return
    if not tokens:
        yield data(message_type=kind, id="message-2", otid=f"{uuid.uuid4()}", tool_call=calls[0], tool_calls=calls)
        return
    rounds = max(len(call["arguments"]) for call in calls) // 7 + 1
    for number in range(-1, rounds):
        for call in calls:
            delta = {"tool_call_id": call["tool_call_id"], "arguments": call["arguments"][number * 7 : number * 7 + 7]}
            if number < 0:
                delta = {"tool_call_id": call["tool_call_id"], "name": call["name"], "arguments": ""}
            yield data(message_type=kind, id="message-2", otid=call["tool_call_id"], tool_call=delta, tool_calls=delta)


def tool_return(given: Json) -> str:
    return data(message_type="tool_return_message", id="message-3", tool_returns=[{"type": "tool", **given}], **given)


@contextmanager
def wire_server() -> Iterator[WireServer]:
    server = WireServer()
    with serving(server.app()) as server.base_url:
        try:
            yield server
        finally:
            server.gate.set()
