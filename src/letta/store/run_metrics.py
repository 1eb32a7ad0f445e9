"""Numbers of a run, put together from its row, its steps and its messages."""

from typing import Any

from sqlalchemy import Connection, func, select

from letta.errors import NotFound
from letta.schemas.messages import PARTS, Role, ToolCallPart
from letta.schemas.run_metrics import RunMetrics
from letta.store import tools
from letta.store.tables import EPOCH, agents, messages, runs, steps


def of_run(connection: Connection, run_id: str) -> RunMetrics:
    """Raises letta.errors.NotFound."""
    query = select(runs, agents.c.project_id, agents.c.template_id, agents.c.base_template_id)
    row = connection.execute(query.join(agents, agents.c.id == runs.c.agent_id).where(runs.c.id == run_id)).first()
    if row is None:
        raise NotFound(f"run {run_id} not found")
    counted, model_ns, tools_ns = _step_totals(connection, run_id)
    names = _tools_called(connection, run_id)
    ids = tools.ids_by_name(connection, names)
    return RunMetrics(
        id=run_id,
        agent_id=row.agent_id,
        project_id=row.project_id,
        template_id=row.template_id,
        base_template_id=row.base_template_id,
        run_start_ns=int((row.created_at - EPOCH).total_seconds() * 1_000_000) * 1_000,
        run_ns=row.total_duration_ns,
        ttft_ns=row.ttft_ns,
        llm_request_ns=model_ns,
        tool_execution_ns=tools_ns,
        num_steps=counted,
        tools_used=[ids[name] for name in names if name in ids],
        tool_names=names,
    )


def _step_totals(connection: Connection, run_id: str) -> Any:
    sums = func.count(), func.sum(steps.c.llm_request_ns), func.sum(steps.c.tool_execution_ns)
    counted, *durations = connection.execute(select(*sums).where(steps.c.run_id == run_id)).one()
    # PostgreSQL sums whole numbers to decimals.
    return counted, *(None if duration is None else int(duration) for duration in durations)


def _tools_called(connection: Connection, run_id: str) -> list[str]:
    query = select(messages.c.parts).where(messages.c.run_id == run_id, messages.c.role == Role.ASSISTANT)
    said = connection.execute(query.order_by(messages.c.position)).scalars()
    calls = (part for parts in said for part in PARTS.validate_json(parts) if isinstance(part, ToolCallPart))
    return list(dict.fromkeys(call.name for call in calls))
