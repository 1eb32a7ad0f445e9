"""A run as a trace: what a collector would get, kept in memory instead."""

import asyncio
import importlib
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from tests.runtime.test_runner import Gate
from tests.serving import serve

from letta.errors import InvalidRequest, ModelRateLimit
from letta.models.scripted import Call
from letta.runtime import spans, tracing

ASK = "send_message_to_agent_and_wait_for_reply"


@pytest.fixture
def collected(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """What was sent, in the order in which it ended."""
    exporter = InMemorySpanExporter()
    monkeypatch.setattr(spans, "to_collector", lambda: spans.Spans(SimpleSpanProcessor(exporter)))
    return exporter


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def named(found: Sequence[ReadableSpan]) -> list[str]:
    return [span.name for span in found]


async def test_a_run_is_a_trace_of_model_calls_and_tools(tmp_path: Path, collected: InMemorySpanExporter) -> None:
    script = [Call(ASK, {"message": "hello", "other_agent_id": "agent-nobody"}), "Nobody there."]
    async with serve(tmp_path, script, otel=True) as served:
        agent = await served.agent(name="Ada", tools=[ASK])
        said = await served.send(agent["id"], "a secret")
        steps = (await served.http.get("/v1/steps", params={"order": "asc"})).json()
    found = list(collected.get_finished_spans())
    assert named(found) == [f"execute_tool {ASK}", "chat scripted", "chat scripted", "invoke_agent Ada"]
    tool, first, second, run = found
    assert {span.context.trace_id for span in found} == {run.context.trace_id}
    assert [span.parent.span_id if span.parent else None for span in found] == [run.context.span_id] * 3 + [None]
    [run_id] = said["usage"]["run_ids"]
    assert attributes(run) | {"letta.run.waited": 0.0} == {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.id": agent["id"],
        "gen_ai.agent.name": "Ada",
        "gen_ai.conversation.id": agent["id"],
        "gen_ai.usage.input_tokens": said["usage"]["prompt_tokens"],
        "gen_ai.usage.output_tokens": said["usage"]["completion_tokens"],
        "letta.run.id": run_id,
        "letta.run.attempt": 1,
        "letta.run.waited": 0.0,
        "letta.run.stop_reason": "end_turn",
        "letta.run.steps": 2,
    }
    assert [attributes(span)["letta.step.id"] for span in (first, second)] == [step["id"] for step in steps]
    assert [attributes(span)["gen_ai.usage.input_tokens"] for span in (first, second)] == [
        step["prompt_tokens"] for step in steps
    ]
    assert attributes(first)["gen_ai.provider.name"] == "letta"
    assert (attributes(tool)["gen_ai.tool.name"], tool.status.is_ok) == (ASK, False)
    assert "secret" not in "".join(span.to_json() for span in found)
    resource = run.resource.attributes
    assert resource["service.name"] == "open-letta"


async def test_a_run_that_fails_is_an_error_in_its_trace(tmp_path: Path, collected: InMemorySpanExporter) -> None:
    async with serve(tmp_path, [ModelRateLimit("slow down")], otel=True) as served:
        agent = await served.agent()
        await served.http.post(f"/v1/agents/{agent['id']}/messages", json={"input": "hello"})
    [run] = collected.get_finished_spans()
    assert (run.status.is_ok, attributes(run)["error.type"]) == (False, "llm_rate_limit")


async def test_a_run_that_is_parked_ends_its_span_and_says_so(tmp_path: Path, collected: InMemorySpanExporter) -> None:
    gate = Gate()
    async with serve(tmp_path, [gate], otel=True, shutdown_grace=0.0) as served:
        agent = await served.agent()
        await served.http.post(f"/v1/agents/{agent['id']}/messages/async", json={"input": "hello"})
        await gate.reached.wait()
    [run] = collected.get_finished_spans()
    assert attributes(run)["letta.run.interrupted"] is True


def test_without_the_setting_nothing_of_opentelemetry_is_loaded_by_us() -> None:
    code = "import sys, letta.app; print('letta.runtime.spans' in sys.modules, 'opentelemetry.sdk' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_without_the_extra_the_setting_is_refused_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ModuleNotFoundError(f"No module named {name!r}", name="opentelemetry.sdk")

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(InvalidRequest, match=r"open-letta\[otel\]"):
        tracing.spans()


async def test_spans_reach_a_collector_when_the_server_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    got: list[tuple[str, bytes]] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.partition("content-length:")[2].split("\r\n")[0])
        got.append((head.split("\r\n")[0], await reader.readexactly(length)))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    collector = await asyncio.start_server(take, "127.0.0.1", 0)
    async with collector:
        port = collector.sockets[0].getsockname()[1]
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
        async with serve(tmp_path, otel=True) as served:
            agent = await served.agent(name="Ada")
            await served.send(agent["id"], "a secret")
    [(request, body)] = got
    assert request == "post /v1/traces http/1.1"
    assert (b"invoke_agent Ada" in body, b"secret" in body) == (True, False)
