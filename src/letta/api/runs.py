"""Runs: `/v1/runs`, and `/v1/jobs`, the older name of the same."""

from typing import Annotated, Any

from fastapi import Body, Depends, Header, Path, Query, Response
from sqlalchemy import Connection

from letta.api import openapi, routes, sse
from letta.api.context import MAX_PAGE, Page, Parts, RunId, paging, reply
from letta.api.following import follow
from letta.api.wire import all_to_wire
from letta.errors import Conflict, InvalidValue
from letta.schemas import wire_messages
from letta.schemas.common import INT32_MAX, Count, Prefix
from letta.schemas.messages import Message
from letta.schemas.run_metrics import RunMetrics
from letta.schemas.runs import FollowStream, Job, Run, RunStatus, RunUsage, StopReason
from letta.schemas.steps import ProviderTrace, Step
from letta.store import batches, messages, run_events, run_metrics, runs, steps, traces
from letta.store.runs import OPEN, RunFilter
from letta.store.steps import StepFilter

_runs = routes.router(prefix="/v1/runs", tags=["runs"])
_jobs = routes.router(prefix="/v1/jobs", tags=["jobs"], deprecated=True)

Runs = Annotated[Page, Depends(paging(limit=100))]
RunMessages = Annotated[Page, Depends(paging(limit=100, order="asc"))]
JobId = Annotated[str, Path(pattern="^(run|job)-[0-9a-fA-F-]{1,60}$")]
OWN_THREAD = "default"


async def _filter(
    agent_id: str | None = None,
    agent_ids: Annotated[list[str] | None, Query(deprecated=True)] = None,
    statuses: Annotated[list[RunStatus] | None, Query()] = None,
    background: bool | None = None,
    stop_reason: StopReason | None = None,
    conversation_id: Annotated[str | None, Query(description="`default` is the own thread of `agent_id`")] = None,
    active: Annotated[bool, Query(description="Only runs that have not ended")] = False,
) -> RunFilter:
    if conversation_id == OWN_THREAD:
        if agent_id is None:
            raise InvalidValue("conversation_id: 'default' needs agent_id, to say whose thread it is")
        conversation_id = agent_id
    return RunFilter(
        agent_id=agent_id,
        agent_ids=agent_ids or (),
        conversation_id=conversation_id,
        statuses=[status.value for status in statuses or ()],
        background=background,
        stop_reason=stop_reason,
        active=active or None,
    )


Wanted = Annotated[RunFilter, Depends(_filter)]


@_runs.get("", response_model=list[Run])
async def list_runs(parts: Parts, wanted: Wanted, page: Runs) -> Any:
    return reply(await parts.database.read(_page, wanted, page.arguments()))


@_runs.get("/active", response_model=list[Run], deprecated=True)
async def list_active_runs(parts: Parts, agent_id: str | None = None, background: bool | None = None) -> Any:
    """The older form of `/v1/runs?active=true`."""
    wanted = RunFilter(agent_id=agent_id, background=background, active=True)
    return reply(await parts.database.read(_page, wanted, {"limit": MAX_PAGE}))


@_runs.get("/{run_id}", response_model=Run)
async def retrieve_run(parts: Parts, run_id: RunId) -> Any:
    return reply(await parts.database.read(runs.get, run_id))


@_runs.delete("/{run_id}", response_model=Run)
async def delete_run(parts: Parts, run_id: RunId) -> Any:
    """Forget a run that has ended; its messages and steps stay. Answers what it was."""
    return reply(await parts.database.write(_remove, run_id))


@_runs.get("/{run_id}/messages", response_model=list[wire_messages.Message])
async def list_run_messages(parts: Parts, run_id: RunId, page: RunMessages) -> Any:
    """The messages of a run. `after` means later and `before` earlier, whatever the order of the page."""
    return reply(all_to_wire(await parts.database.read(_messages, run_id, page)))


@_runs.get("/{run_id}/usage", response_model=RunUsage)
async def retrieve_run_usage(parts: Parts, run_id: RunId) -> Any:
    return reply(await parts.database.read(runs.usage, run_id))


@_runs.get("/{run_id}/steps", response_model=list[Step])
async def list_run_steps(parts: Parts, run_id: RunId, page: Runs) -> Any:
    return reply(await parts.database.read(_steps, run_id, page))


@_runs.get("/{run_id}/metrics", response_model=RunMetrics)
async def retrieve_run_metrics(parts: Parts, run_id: RunId) -> Any:
    return reply(await parts.database.read(run_metrics.of_run, run_id))


@_runs.get("/{run_id}/trace", response_model=list[ProviderTrace])
async def retrieve_run_trace(parts: Parts, run_id: RunId, limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 100) -> Any:
    """The provider request and answer of each step, oldest first; none where traces are not kept."""
    return reply(await parts.database.read(_traces, run_id, limit))


@_runs.post("/{run_id}/stream", response_model=None, responses=openapi.STREAM)
async def stream_run(parts: Parts, run_id: RunId, body: Annotated[FollowStream | None, Body()] = None) -> Any:
    """What happens in a run, from its beginning or behind frame `starting_after`, until its end."""
    return await follow(parts, run_id, body or FollowStream())


@_runs.get("/{run_id}/stream", response_model=None, responses=openapi.STREAM)
async def watch_run(
    parts: Parts,
    run_id: RunId,
    starting_after: Annotated[Count, Query(description="Only frames behind this number")] = 0,
    include_pings: Annotated[bool, Query(description="Send a frame after each while of silence, too")] = True,
    last_event_id: Annotated[str | None, Header(description="Where a browser left off; wins over the query")] = None,
) -> Any:
    """The same for a browser's `EventSource`: frames have `id:` lines, and it comes back with the last one it saw."""
    if last_event_id == sse.END:
        # What tells a browser not to come back.
        return Response(status_code=204)
    wanted = FollowStream(starting_after=_number(last_event_id, starting_after), include_pings=include_pings)
    return await follow(parts, run_id, wanted, ids=True)


def _number(event_id: str | None, otherwise: int) -> int:
    if not event_id:
        return otherwise
    if not event_id.isascii() or not event_id.isdecimal() or int(event_id) > INT32_MAX:
        raise InvalidValue(f"Last-Event-ID: {event_id[:40]!r} is none of the ids this stream sends: leave it out")
    return int(event_id)


# -- the older name ----------------------------------------------------------------------------------------------------


@_jobs.get("", response_model=list[Job])
async def list_jobs(parts: Parts, page: Runs, source_id: str | None = None, active: bool = False) -> Any:
    """Every job here is a run of an agent, so none belongs to a source."""
    if source_id is not None:
        return reply([])
    return reply(await parts.database.read(_page, RunFilter(active=active or None), page.arguments()))


@_jobs.get("/active", response_model=list[Job])
async def list_active_jobs(parts: Parts, page: Runs, source_id: str | None = None) -> Any:
    return await list_jobs(parts, page, source_id, active=True)


@_jobs.get("/{job_id}", response_model=Job)
async def retrieve_job(parts: Parts, job_id: JobId) -> Any:
    """A run, or a batch."""
    if job_id.startswith(Prefix.JOB):
        return reply(await parts.database.read(batches.get, job_id))
    return reply(await parts.database.read(runs.get, job_id))


@_jobs.delete("/{job_id}", response_model=Job)
async def delete_job(parts: Parts, job_id: JobId) -> Any:
    return reply(await parts.database.write(_remove, job_id))


@_jobs.patch("/{job_id}/cancel", response_model=Job)
async def cancel_job(parts: Parts, job_id: JobId) -> Any:
    """Stop a run or a batch. One that has ended is a conflict."""
    if job_id.startswith(Prefix.JOB):
        batch = await parts.database.read(batches.get, job_id)
        if batch.status not in OPEN:
            raise Conflict(f"batch {job_id} has ended ({batch.status}): there is nothing to cancel")
        return reply(await parts.batches.cancel(job_id))
    run = await parts.database.read(runs.get, job_id)
    if run.status not in OPEN:
        raise Conflict(f"run {job_id} has ended ({run.status}): there is nothing to cancel")
    await parts.runner.cancel([job_id])
    return reply(await parts.database.read(runs.get, job_id))


def _page(connection: Connection, wanted: RunFilter, page: dict[str, Any]) -> list[Run]:
    return runs.list_page(connection, wanted, **page)


def _remove(connection: Connection, run_id: str) -> Run:
    run = runs.get(connection, run_id)
    if run.status in OPEN:
        raise Conflict(f"run {run_id} is {run.status}: cancel it before deleting it")
    runs.remove(connection, run_id)
    run_events.remove(connection, run_id)
    return run


def _messages(connection: Connection, run_id: str, page: Page) -> list[Message]:
    runs.get(connection, run_id)
    after, before = (page.after, page.before) if page.order == "asc" else (page.before, page.after)
    return messages.page(
        connection, {"run_id": run_id}, sort="position", order=page.order, after=after, before=before, limit=page.limit
    )


def _steps(connection: Connection, run_id: str, page: Page) -> list[Step]:
    runs.get(connection, run_id)
    return steps.list_page(connection, StepFilter(run_id=run_id), **page.arguments())


def _traces(connection: Connection, run_id: str, limit: int) -> list[ProviderTrace]:
    runs.get(connection, run_id)
    return traces.of_run(connection, run_id, limit)


router = routes.joined(_runs, _jobs)
