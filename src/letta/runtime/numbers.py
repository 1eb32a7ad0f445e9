"""What is observed, as Prometheus metrics of this process. Knows nothing of HTTP and asks no database.

Labels have few values: statuses, types of tools, models (the first hundred, then `other`); never ids.
"""

import asyncio
from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, Summary, generate_latest

from letta.runtime.events import Finished
from letta.runtime.observe import Observer, StepSeen, ToolSeen
from letta.store.access import Connections
from letta.store.runs import Work

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_MOST_MODELS = 100
_SECOND_NS = 1e9
_LAG_EVERY = 0.25
_SHORT = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.125, 0.25, 0.5, 1.0)
_LONG = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)


class Numbers(Observer):
    """The metrics of one server. `text` is what Prometheus reads."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(namespace="letta", registry=registry)
        self._open = Gauge("letta_runs_open", "Unfinished runs in the database.", ["status"], registry=registry)
        self._ended = Counter("letta_runs", "Runs that ended in this process.", ["status", "reason"], registry=registry)
        self._waited = Histogram(
            "letta_run_wait_seconds", "From accepting a run to its turn.", buckets=_LONG, registry=registry
        )
        self._overhead = Histogram(
            "letta_step_overhead_seconds",
            "What a step took besides the model and tools outside: request, transaction, memory tools.",
            buckets=_SHORT,
            registry=registry,
        )
        self._first = Histogram(
            "letta_first_token_seconds", "From the start of a run to its first token.", buckets=_LONG, registry=registry
        )
        self._tokens = Counter("letta_tokens", "Tokens by model.", ["model", "kind"], registry=registry)
        self._model = Summary("letta_model_seconds", "What model calls took.", ["model"], registry=registry)
        self._tools = Histogram(
            "letta_tool_seconds", "What tools outside the server took.", ["type"], buckets=_LONG, registry=registry
        )
        self._failed = Counter("letta_tool_failures", "Calls of such tools that failed.", ["type"], registry=registry)
        self._up = Gauge("letta_database_up", "Whether the database answers.", registry=registry)
        self._used = Gauge("letta_database_connections_in_use", "Connections in use.", registry=registry)
        self._most = Gauge("letta_database_connections_limit", "Connections there can be.", registry=registry)
        self._queued = Gauge("letta_database_writes_waiting", "Writes waiting for SQLite's writer.", registry=registry)
        self._lag = Histogram(
            "letta_event_loop_lag_seconds", "How late the event loop is.", buckets=_SHORT, registry=registry
        )
        self._models: set[str] = set()
        self._watching: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to measure how late the event loop is."""
        self._watching = asyncio.create_task(self._watch(), name="event loop lag")

    async def stop(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)

    def run_began(self, work: Work, waited: float) -> None:
        # A run that is taken up again waited for other things, too.
        if work.attempt == 1:
            self._waited.observe(max(0.0, waited))

    def step_ended(self, step: StepSeen) -> None:
        model = self._known(step.handle)
        self._model.labels(model).observe(step.model_ns / _SECOND_NS)
        self._overhead.observe(max(0, step.whole_ns - step.model_ns - step.tools_ns) / _SECOND_NS)
        if step.first_token_ns is not None:
            self._first.observe(step.first_token_ns / _SECOND_NS)
        usage = step.usage
        for kind, number in (
            ("input", usage.prompt_tokens),
            ("output", usage.completion_tokens),
            ("cached_input", usage.cached_input_tokens),
            ("reasoning", usage.reasoning_tokens),
        ):
            if number:
                self._tokens.labels(model, kind).inc(number)

    def tool_ended(self, tool: ToolSeen) -> None:
        self._tools.labels(tool.type).observe(tool.took_ns / _SECOND_NS)
        if not tool.ok:
            self._failed.labels(tool.type).inc()

    def run_ended(self, work: Work, finished: Finished) -> None:
        self._ended.labels(finished.stop_reason.run_status.value, finished.stop_reason.value).inc()

    def text(self, open_runs: Mapping[str, int] | None, connections: Connections) -> bytes:
        """Everything as Prometheus reads it. `open_runs` by status; None: the database does not answer."""
        self._up.set(open_runs is not None)
        for status in ("created", "running"):
            self._open.labels(status).set(float("nan") if open_runs is None else open_runs.get(status, 0))
        self._used.set(connections.in_use)
        self._most.set(connections.limit)
        self._queued.set(connections.writes_waiting)
        return generate_latest(self._registry)

    def _known(self, handle: str) -> str:
        if handle not in self._models:
            if len(self._models) >= _MOST_MODELS:
                return "other"
            self._models.add(handle)
        return handle

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _LAG_EVERY
            await asyncio.sleep(_LAG_EVERY)
            self._lag.observe(max(0.0, loop.time() - due))
