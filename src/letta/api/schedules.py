"""Messages sent at a time, or again and again: `agents.schedule` of the SDKs."""

from typing import Annotated

from fastapi import Path, Query, Response

from letta.api import routes
from letta.api.arrival import Marked, arrival_of_schedule, note_answered
from letta.api.context import MAX_PAGE, AgentId, Parts, reply
from letta.api.sending import check_callback_url
from letta.schemas.common import Timestamp, id_pattern
from letta.schemas.schedules import (
    CreateSchedule,
    OccurrenceList,
    Schedule,
    ScheduleCreated,
    ScheduleDeleted,
    ScheduleList,
)
from letta.store import schedules

router = routes.router(prefix="/v1/agents/{agent_id}/schedule", tags=["schedules"])

ScheduleId = Annotated[str, Path(pattern=id_pattern("schedule"), description="`schedule-` and a lower-case UUID4")]
Limit = Annotated[int, Query(ge=1, le=MAX_PAGE)]


@router.post("", response_model=ScheduleCreated, status_code=201)
async def create_schedule(parts: Parts, agent_id: AgentId, body: CreateSchedule, marks: Marked) -> Response:
    """Send messages to an agent at a time, or at the times of a cron expression in the agent's time zone."""
    if body.callback_url is not None:
        await check_callback_url(parts, body.callback_url)
    made = await parts.schedules.create(agent_id, body, arrival_of_schedule(parts, body, marks))
    await note_answered(parts, marks, made.id)
    return reply(made, 201)


@router.get("", response_model=ScheduleList)
async def list_schedules(
    parts: Parts,
    agent_id: AgentId,
    after: Annotated[str | None, Query(description="Id of the last one of the page before")] = None,
    limit: Limit = 50,
) -> Response:
    """An agent's schedules, newest first; those that have no next time, too."""
    found, more = await parts.database.read(schedules.list_page, agent_id, after or None, limit)
    return reply(ScheduleList(has_next_page=more, scheduled_messages=found))


@router.get("/{scheduled_message_id}", response_model=Schedule)
async def retrieve_schedule(parts: Parts, agent_id: AgentId, scheduled_message_id: ScheduleId) -> Response:
    return reply(await parts.database.read(schedules.get, agent_id, scheduled_message_id))


@router.delete("/{scheduled_message_id}", response_model=ScheduleDeleted)
async def delete_schedule(parts: Parts, agent_id: AgentId, scheduled_message_id: ScheduleId) -> Response:
    """Send nothing more, and forget what was sent when. Runs that were begun go on."""
    await parts.database.write(schedules.remove, agent_id, scheduled_message_id)
    return reply(ScheduleDeleted())


@router.get("/{scheduled_message_id}/occurrences", response_model=OccurrenceList)
async def list_schedule_occurrences(
    parts: Parts,
    agent_id: AgentId,
    scheduled_message_id: ScheduleId,
    before: Annotated[Timestamp | None, Query(description="Only times before this one, for the next page")] = None,
    limit: Limit = 50,
) -> Response:
    """The last 2,000 times that came and what came of them, newest first. An own route, in no SDK."""
    found, more = await parts.database.read(schedules.history, agent_id, scheduled_message_id, before, limit)
    return reply(OccurrenceList(has_next_page=more, occurrences=found))
