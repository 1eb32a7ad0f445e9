"""Steps as rows, with their numbers and feedback."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import Connection, Text, exists, insert, or_, select, type_coerce, update

from letta.errors import NotFound
from letta.schemas.steps import Step, StepMetrics
from letta.store.query import like, rows
from letta.store.tables import agents, steps

_insert = insert(steps)


@dataclass(frozen=True, slots=True)
class StepFilter:
    """What to list; None does not filter. `tags` asks for any of them, `project_id` is the agent's."""

    agent_id: str | None = None
    run_id: str | None = None
    model: str | None = None
    feedback: str | None = None
    has_feedback: bool | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    tags: Sequence[str] = ()
    project_id: str | None = None


def add(connection: Connection, values: dict[str, Any]) -> None:
    """Store a step; `values` are the columns of the table."""
    connection.execute(_insert, values)


def count_of_run(connection: Connection, run_id: str) -> int:
    """How many steps of a run were completed."""
    query = select(steps.c.id).where(steps.c.run_id == run_id, steps.c.status == "success")
    return len(connection.execute(query).all())


def get(connection: Connection, step_id: str) -> Step:
    """Raises letta.errors.NotFound."""
    return _step(_row(connection, step_id))


def metrics(connection: Connection, step_id: str) -> StepMetrics:
    """Raises letta.errors.NotFound."""
    row = _row(connection, step_id)
    return StepMetrics(
        id=row.id,
        run_id=row.run_id,
        agent_id=row.agent_id,
        provider_id=row.provider_id,
        step_start_ns=row.step_start_ns,
        llm_request_start_ns=row.step_start_ns,
        llm_request_ns=row.llm_request_ns,
        tool_execution_ns=row.tool_execution_ns,
        step_ns=row.step_ns,
    )


def give_feedback(connection: Connection, step_id: str, values: dict[str, Any]) -> Step:
    """Write `feedback`, `feedback_text` or `tags`. Raises letta.errors.NotFound."""
    if values:
        connection.execute(update(steps).where(steps.c.id == step_id).values(**values))
    return get(connection, step_id)


def list_page(connection: Connection, /, wanted: StepFilter, **paging: Any) -> list[Step]:
    """One page of steps; paging as in `letta.store.query.rows`."""
    query = select(steps)
    for column, value in (
        (steps.c.agent_id, wanted.agent_id),
        (steps.c.run_id, wanted.run_id),
        (steps.c.model, wanted.model),
        (steps.c.feedback, wanted.feedback),
    ):
        if value is not None:
            query = query.where(column == value)
    if wanted.has_feedback is not None:
        query = query.where(steps.c.feedback.is_not(None) if wanted.has_feedback else steps.c.feedback.is_(None))
    if wanted.created_after is not None:
        query = query.where(steps.c.created_at > wanted.created_after)
    if wanted.created_before is not None:
        query = query.where(steps.c.created_at < wanted.created_before)
    if wanted.tags:
        # A list of texts as JSON: a whole tag is found with its quotes.
        stored = type_coerce(steps.c.tags, Text)
        query = query.where(or_(*(stored.like(like(orjson.dumps(tag).decode()), escape="\\") for tag in wanted.tags)))
    if wanted.project_id is not None:
        query = query.where(exists().where(agents.c.id == steps.c.agent_id, agents.c.project_id == wanted.project_id))
    return [_step(row) for row in rows(connection, query, steps, **paging)]


def _row(connection: Connection, step_id: str) -> Any:
    row = connection.execute(select(steps).where(steps.c.id == step_id)).first()
    if row is None:
        raise NotFound(f"step {step_id} not found")
    return row


def _step(row: Any) -> Step:
    values = {key: value for key, value in row._asdict().items() if key in Step.model_fields}
    details = None if row.cached_input_tokens is None else {"cached_tokens": row.cached_input_tokens}
    reasoning = None if row.reasoning_tokens is None else {"reasoning_tokens": row.reasoning_tokens}
    return Step.model_construct(
        **values,
        messages=[],
        origin=None,
        prompt_tokens_details=details,
        completion_tokens_details=reasoning,
        tid=None,
        trace_id=None,
    )
