"""Runs, model calls and tools as OpenTelemetry spans, in the words of its conventions for generative AI.

A run is one trace: `invoke_agent` with a `chat` for each step and an `execute_tool` for each call outside the process.
Names, numbers and times are recorded, nothing that was said. Needs the extra `otel`; loaded only when it is wanted.
"""

from datetime import datetime
from typing import Any

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, set_span_in_context

from letta.runtime.events import Finished
from letta.runtime.observe import Observer, StepSeen, ToolSeen
from letta.store.runs import Work
from letta.version import __version__


class Spans(Observer):
    """Spans of everything that is observed, given to `processor`."""

    def __init__(self, processor: SpanProcessor) -> None:
        resource = Resource.create({"service.version": __version__})
        # The environment may name it; what the SDK makes up when it does not begins so.
        if str(resource.attributes.get("service.name", "unknown")).startswith("unknown"):
            resource = resource.merge(Resource({"service.name": "open-letta"}))
        self._provider = TracerProvider(resource=resource)
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("letta", __version__)
        self._runs: dict[str, Span] = {}

    def run_began(self, work: Work, waited: float) -> None:
        self._runs[work.id] = self._tracer.start_span(
            "invoke_agent",
            kind=SpanKind.INTERNAL,
            attributes={
                "gen_ai.operation.name": "invoke_agent",
                "gen_ai.agent.id": work.agent_id,
                "gen_ai.conversation.id": work.conversation_id,
                "letta.run.id": work.id,
                "letta.run.attempt": work.attempt,
                "letta.run.waited": waited,
            },
        )

    def step_ended(self, step: StepSeen) -> None:
        run = self._runs.get(step.work.id)
        if run is None:
            return
        run.update_name(f"invoke_agent {step.agent_name}")
        run.set_attribute("gen_ai.agent.name", step.agent_name)
        attributes: dict[str, Any] = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": step.provider,
            "gen_ai.request.model": step.model,
            "gen_ai.agent.id": step.work.agent_id,
            "gen_ai.agent.name": step.agent_name,
            "gen_ai.conversation.id": step.work.conversation_id,
            "gen_ai.response.finish_reasons": (step.finish_reason,),
            "gen_ai.usage.input_tokens": step.usage.prompt_tokens,
            "gen_ai.usage.output_tokens": step.usage.completion_tokens,
            "gen_ai.usage.cache_read.input_tokens": step.usage.cached_input_tokens,
            "gen_ai.usage.cache_creation.input_tokens": step.usage.cache_write_tokens,
            "gen_ai.usage.reasoning.output_tokens": step.usage.reasoning_tokens,
            "letta.run.id": step.work.id,
            "letta.step.id": step.step_id,
        }
        self._child(run, f"chat {step.model}", SpanKind.CLIENT, step.started_at, step.model_ns, attributes)

    def tool_ended(self, tool: ToolSeen) -> None:
        run = self._runs.get(tool.run_id)
        if run is None:
            return
        attributes = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": tool.name,
            "gen_ai.tool.call.id": tool.call_id,
            "gen_ai.tool.type": "function",
            "letta.run.id": tool.run_id,
            "letta.step.id": tool.step_id,
            "letta.tool.type": tool.type,
        }
        span = f"execute_tool {tool.name}"
        self._child(run, span, SpanKind.INTERNAL, tool.started_at, tool.took_ns, attributes, failed=not tool.ok)

    def run_ended(self, work: Work, finished: Finished) -> None:
        run = self._runs.pop(work.id, None)
        if run is None:
            return
        tokens = finished.usage.tokens
        run.set_attributes(_known({
            "gen_ai.usage.input_tokens": tokens.prompt_tokens,
            "gen_ai.usage.output_tokens": tokens.completion_tokens,
            "letta.run.stop_reason": finished.stop_reason.value,
            "letta.run.steps": finished.usage.step_count,
        }))  # fmt: skip
        if finished.failure is not None:
            run.set_attribute("error.type", finished.failure.type)
            run.set_status(Status(StatusCode.ERROR, finished.failure.message))
        run.end()

    def run_left(self, work: Work) -> None:
        if (run := self._runs.pop(work.id, None)) is not None:
            run.set_attribute("letta.run.interrupted", True)
            run.end()

    def close(self) -> None:
        for run in self._runs.values():
            run.end()
        self._provider.shutdown()

    def _child(
        self,
        run: Span,
        name: str,
        kind: SpanKind,
        started_at: datetime,
        took_ns: int,
        attributes: dict[str, Any],
        *,
        failed: bool = False,
    ) -> None:
        start = _epoch_ns(started_at)
        span = self._tracer.start_span(
            name, set_span_in_context(run), kind=kind, attributes=_known(attributes), start_time=start
        )
        if failed:
            span.set_status(Status(StatusCode.ERROR))
        span.end(start + took_ns)


def to_collector() -> Spans:
    """Spans that are sent by OTLP over HTTP, in the background, as the OTEL_ variables of the environment say."""
    return Spans(BatchSpanProcessor(OTLPSpanExporter()))


def _known(attributes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in attributes.items() if value is not None}


def _epoch_ns(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000) * 1000
