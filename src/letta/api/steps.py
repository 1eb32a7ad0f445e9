"""Steps: `/v1/steps`, and `/v1/telemetry`, the older name of their traces."""

from typing import Annotated, Any, Literal

from fastapi import Depends, Query
from sqlalchemy import Connection

from letta.api import routes
from letta.api.context import Page, Parts, StepId, paging, reply
from letta.api.wire import all_to_wire
from letta.schemas import wire_messages
from letta.schemas.common import Timestamp
from letta.schemas.messages import Message
from letta.schemas.steps import ProviderTrace, Step, StepFeedback, StepMetrics
from letta.store import messages, steps, traces
from letta.store.steps import StepFilter

_steps = routes.router(prefix="/v1/steps", tags=["steps"])
_telemetry = routes.router(prefix="/v1/telemetry", tags=["telemetry"], deprecated=True)

Steps = Annotated[Page, Depends(paging())]
StepMessages = Annotated[Page, Depends(paging(limit=100, order="asc"))]
Texts = Annotated[list[str] | None, Query()]


@_steps.get("", response_model=list[Step])
async def list_steps(
    parts: Parts,
    page: Steps,
    agent_id: str | None = None,
    model: str | None = None,
    feedback: Literal["positive", "negative"] | None = None,
    has_feedback: bool | None = None,
    start_date: Annotated[Timestamp | None, Query(description="Only steps after this time")] = None,
    end_date: Annotated[Timestamp | None, Query(description="Only steps before this time")] = None,
    trace_ids: Texts = None,
    tags: Texts = None,
    project_id: str | None = None,
) -> Any:
    """Steps of all agents. No step here has a trace id, so `trace_ids` finds none."""
    if trace_ids:
        return reply([])
    wanted = StepFilter(
        agent_id=agent_id,
        model=model,
        feedback=feedback,
        has_feedback=has_feedback,
        created_after=start_date,
        created_before=end_date,
        tags=tags or (),
        project_id=project_id,
    )
    return reply(await parts.database.read(lambda connection: steps.list_page(connection, wanted, **page.arguments())))


@_steps.get("/{step_id}", response_model=Step)
async def retrieve_step(parts: Parts, step_id: StepId) -> Any:
    return reply(await parts.database.read(steps.get, step_id))


@_steps.get("/{step_id}/metrics", response_model=StepMetrics)
async def retrieve_step_metrics(parts: Parts, step_id: StepId) -> Any:
    return reply(await parts.database.read(steps.metrics, step_id))


@_steps.get("/{step_id}/messages", response_model=list[wire_messages.Message])
async def list_step_messages(parts: Parts, step_id: StepId, page: StepMessages) -> Any:
    """The messages a step made. Cursors follow the order of the page."""
    return reply(all_to_wire(await parts.database.read(_messages, step_id, page)))


@_steps.get("/{step_id}/trace", response_model=ProviderTrace | None)
async def retrieve_step_trace(parts: Parts, step_id: StepId) -> Any:
    """The exact provider request and answer; null when none was kept."""
    return reply(await parts.database.read(_trace, step_id))


@_steps.patch("/{step_id}/feedback", response_model=Step)
async def give_step_feedback(parts: Parts, step_id: StepId, body: StepFeedback) -> Any:
    values: dict[str, Any] = {"feedback": body.feedback}
    if "tags" in body.model_fields_set:
        values["tags"] = body.tags
    return reply(await parts.database.write(steps.give_feedback, step_id, values))


@_telemetry.get("/{step_id}", response_model=ProviderTrace | None)
async def retrieve_provider_trace(parts: Parts, step_id: StepId) -> Any:
    return reply(await parts.database.read(_trace, step_id))


def _messages(connection: Connection, step_id: str, page: Page) -> list[Message]:
    steps.get(connection, step_id)
    return messages.page(connection, {"step_id": step_id}, **{**page.arguments(), "sort": "position"})


def _trace(connection: Connection, step_id: str) -> ProviderTrace | None:
    steps.get(connection, step_id)
    return traces.of_step(connection, step_id)


router = routes.joined(_steps, _telemetry)
