"""Connections with real MCP servers, over every transport: what works, what breaks, and that nothing hangs."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.tools.mcp_processes import TRANSPORTS, McpProcess, mcp_process, until

from letta.errors import LettaError, McpFailed, McpTimeout
from letta.schemas.messages import Base64Image
from letta.tools.mcp.loader import library
from letta.tools.mcp.pool import Pool
from letta.tools.mcp.protocol import Link, Outcome, Wish
from letta.tools.mcp.target import resolve
from letta.tools.outbound import AddressRefused

NAMES = ["add", "die", "fail", "hang", "long", "picture", "seen", "slow"]


@pytest.fixture(params=TRANSPORTS)
async def server(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[McpProcess]:
    async with mcp_process(request.param, tmp_path) as running:
        yield running


@pytest.fixture
async def pool() -> AsyncIterator[Pool]:
    made = Pool(connect_seconds=20)
    yield made
    await made.aclose()


async def use(pool: Pool, config: dict[str, Any], work: Any, seconds: float = 20, **options: Any) -> Any:
    wish = Wish("demo", resolve(config, {}), options.pop("allow_private", True))
    return await pool.use("id", wish, (await library()).open_link, work, seconds, **options)


async def call(
    pool: Pool,
    server: McpProcess,
    tool: str,
    arguments: dict[str, Any] | None = None,
    limit: float = 20,
    **options: Any,
) -> Outcome:
    async def work(link: Link) -> Outcome:
        return await link.call(tool, arguments or {}, limit)

    outcome: Outcome = await use(pool, server.config(), work, limit + 5, **options)
    return outcome


async def listed(pool: Pool, server: McpProcess) -> list[str]:
    found = await use(pool, server.config(), lambda link: link.tools())
    return sorted(tool["name"] for tool in found)


async def test_tools_are_listed_and_called_over_one_connection(pool: Pool, server: McpProcess) -> None:
    assert await listed(pool, server) == NAMES
    results = await asyncio.gather(*(call(pool, server, "add", {"a": number, "b": 1}) for number in range(5)))
    assert results == [Outcome(str(number + 1)) for number in range(5)]


async def test_error_of_a_tool_is_its_outcome(pool: Pool, server: McpProcess) -> None:
    assert await call(pool, server, "fail") == Outcome("Error executing tool fail: the moon is not available", ok=False)


async def test_image_comes_beside_the_text(pool: Pool, server: McpProcess) -> None:
    outcome = await call(pool, server, "picture")
    assert outcome.text == "one pixel\n[image: image/png, 70 bytes]"
    [image] = outcome.images
    assert isinstance(image.source, Base64Image)
    assert image.source.media_type == "image/png"


async def test_slow_tool_is_given_up_and_the_next_call_works(pool: Pool, server: McpProcess) -> None:
    with pytest.raises(McpTimeout, match="did not answer in time"):
        await call(pool, server, "slow", {"seconds": 600}, limit=0.5)
    assert await call(pool, server, "add", {"a": 1, "b": 2}) == Outcome("3")


async def test_server_is_kept_when_only_a_tool_was_slow_and_replaced_when_it_hangs(pool: Pool, tmp_path: Path) -> None:
    async with mcp_process("stdio", tmp_path) as server:
        with pytest.raises(McpTimeout):
            await call(pool, server, "slow", {"seconds": 600}, limit=0.5)
        before = server.pid
        assert await call(pool, server, "add", {"a": 1, "b": 2}) == Outcome("3")
        assert server.pid == before
        with pytest.raises(McpTimeout):
            await call(pool, server, "hang", limit=0.5)
        assert await call(pool, server, "add", {"a": 1, "b": 2}) == Outcome("3")
        assert server.pid != before


async def test_server_that_dies_in_a_call_fails_it_and_is_reached_again(pool: Pool, server: McpProcess) -> None:
    with pytest.raises(McpFailed, match="during the call; whether the tool did its work is unknown"):
        await call(pool, server, "die")
    await server.start()
    assert await call(pool, server, "add", {"a": 1, "b": 2}, eager=True) == Outcome("3")


async def test_server_killed_in_a_call_fails_it(pool: Pool, server: McpProcess) -> None:
    waiting = asyncio.create_task(call(pool, server, "slow", {"seconds": 600}))
    await server.noted("slow")
    await server.kill()
    with pytest.raises(McpFailed, match="unknown"):
        await waiting


async def test_server_restarted_between_calls_is_not_noticed(pool: Pool, server: McpProcess) -> None:
    assert await call(pool, server, "add", {"a": 1, "b": 2}) == Outcome("3")
    await server.kill()
    if server.transport == "stdio":
        await until(lambda: not pool.connected("id"))
    await server.start()
    assert await call(pool, server, "add", {"a": 1, "b": 3}) == Outcome("4")
    assert server.calls == ["add", "add"]


async def test_cancelled_call_leaves_the_connection_to_others(pool: Pool, server: McpProcess) -> None:
    waiting = asyncio.create_task(call(pool, server, "slow", {"seconds": 600}))
    await server.noted("slow")
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert pool.connected("id")
    assert await call(pool, server, "add", {"a": 1, "b": 2}) == Outcome("3")


async def test_long_answer_arrives_whole_or_fails_with_its_reason(pool: Pool, server: McpProcess) -> None:
    if server.transport == "sse":  # the library reads no more than a MiB of an event there
        with pytest.raises(McpFailed, match="event exceeded the 1048576 byte limit"):
            await call(pool, server, "long", {"characters": 3_000_000})
        assert await call(pool, server, "add", {"a": 1, "b": 2}) == Outcome("3")
        return
    assert len((await call(pool, server, "long", {"characters": 3_000_000})).text) == 3_000_000


BAD_COMMANDS = {
    "missing": (["/nowhere/to/be/found"], "cannot be started: No such file or directory"),
    "ends": ([sys.executable, "-c", "raise SystemExit('no key was given')"], "closed the connection; it wrote: no key"),
    "silent": ([sys.executable, "-c", "import time; time.sleep(600)"], "did not answer within 0.5 s"),
    "noise": ([sys.executable, "-c", "print('hello' * 1000, flush=True); input(); input()"], "did not answer|closed"),
}


@pytest.mark.parametrize("kind", BAD_COMMANDS)
async def test_command_that_is_no_server_fails_and_is_not_tried_again_at_once(kind: str) -> None:
    pool = Pool(connect_seconds=0.5 if kind in ("silent", "noise") else 20)
    (command, *args), told = BAD_COMMANDS[kind]
    config = {"mcp_server_type": "stdio", "command": command, "args": args}
    try:
        with pytest.raises(McpFailed, match=told):
            await use(pool, config, lambda link: link.tools())
        with pytest.raises(McpFailed, match=r"asked again in \d+ s"):
            await use(pool, config, lambda link: link.tools())
        assert not pool.connected("id")
        assert pool.trouble("id") is not None
    finally:
        await pool.aclose()


async def test_private_address_is_refused_when_the_connection_is_made(pool: Pool, tmp_path: Path) -> None:
    async with mcp_process("streamable_http", tmp_path) as server:
        with pytest.raises(LettaError) as refused:
            await use(pool, server.config(), lambda link: link.tools(), allow_private=False)
    assert isinstance(refused.value, AddressRefused)
    assert "127.0.0.1 is not a public address" in refused.value.message


RAW = """
import json, sys
TOOLS = [{"name": "good", "inputSchema": {"type": "object", "properties": {"a": {"type": "string"}}}},
         {"name": "no schema"}, {"name": "wrong", "inputSchema": "none"}, {"inputSchema": {}}, 7,
         {"name": "list", "inputSchema": {"type": "array"}}]
for line in sys.stdin:
    asked = json.loads(line)
    if "id" not in asked:
        continue
    answer = {"jsonrpc": "2.0", "id": asked["id"]}
    if asked["method"] == "initialize":
        answer["result"] = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}},
                            "serverInfo": {"name": "raw", "version": "1"}}
    elif asked["method"] == "tools/list":
        answer["result"] = {"tools": TOOLS}
    elif asked["method"] == "tools/call":
        answer["result"] = {"content": [{"type": "text", "text": "called"}], "structuredContent": {"a": 1}}
    else:
        answer["error"] = {"code": -32601, "message": "Method not found"}
    print(json.dumps(answer), flush=True)
"""


async def test_tools_without_a_schema_do_not_spoil_the_listing(pool: Pool) -> None:
    config = {"mcp_server_type": "stdio", "command": sys.executable, "args": ["-c", RAW]}
    found = await use(pool, config, lambda link: link.tools())
    judged, problems = (await library()).judge(found)
    assert {one.name: (one.health.status, one.health.reasons) for one in judged} == {
        "good": ("NON_STRICT_ONLY", ["an object allows additional properties", "not required: a"]),
        "no schema": ("INVALID", ["inputSchema is missing"]),
        "wrong": ("INVALID", ["inputSchema is not an object"]),
        "list": ("INVALID", ["the type of inputSchema is 'array', it must be 'object'"]),
    }
    assert problems == ["tool 4 has no usable name", "tool 5 has no usable name"]
    assert await use(pool, config, lambda link: link.call("good", {}, 10)) == Outcome("called")
