"""An agent's past: read as of a step, made again from there, and asked once more with something changed.

Own routes: no other server of this API has them.
"""

from fastapi import Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from sqlalchemy import Connection

from letta.api import openapi, routes, sending, sse
from letta.api.agents import completed
from letta.api.arrival import Marks
from letta.api.context import Parts, RunId, Server, StepId, reply
from letta.api.wire import all_to_wire
from letta.runtime import time_travel
from letta.schemas.agents import AgentState, UpdateAgent
from letta.schemas.sends import SendRequest
from letta.schemas.time_travel import ForkAgent, PastState, Replayed, ReplayRun
from letta.store import moments
from letta.store.moments import Moment

router = routes.router(prefix="/v1", tags=["time travel"])

# What a run kept of its request that another run must not do again, or that only its stream knew.
_NOT_AGAIN = frozenset({"background", "callback_url", "include_pings", "stream_tokens", "streaming"})


@router.get("/steps/{step_id}/state", response_model=PastState)
async def retrieve_state_at_step(parts: Parts, step_id: StepId) -> Response:
    """The agent right after a step: what it was, what its memory held and what its model was shown."""
    past, shown = await parts.database.read(time_travel.state, step_id)
    past.messages = all_to_wire(shown)
    return reply(past)


@router.post("/steps/{step_id}/fork", response_model=AgentState)
async def fork_agent_at_step(parts: Parts, step_id: StepId, body: ForkAgent | None = None) -> Response:
    """A new agent that is what this one was right after a step, with copies of its memory and of what was said."""
    moment = await parts.database.read(moments.after_step, step_id)
    return reply(await _forked(parts, moment, body or ForkAgent(), with_step=True))


@router.post("/runs/{run_id}/replay", response_model=Replayed, responses=openapi.ANSWER)
async def replay_run(parts: Parts, run_id: RunId, body: ReplayRun | None = None) -> Response:
    """Ask again what began a run, of a new agent that is what this one was before it.

    Tools are called again, with all they do. The answer says who the new agent is.
    """
    changes = body or ReplayRun()
    moment, asked = await parts.database.read(moments.before_run, run_id)
    request = _request(asked, changes)
    sending.refuse_unbuilt(request)
    agent = await _forked(parts, moment, changes, with_step=False)
    running = await sending.start(parts, agent.id, agent.id, request, Marks(), background=False)
    answer = await sse.collect(parts.following, running, sending.wire_options(request))
    return reply({"agent": agent, **answer})


def _request(asked: dict[str, object], changes: ReplayRun) -> SendRequest:
    known = {key: value for key, value in asked.items() if key in SendRequest.model_fields and key not in _NOT_AGAIN}
    if changes.messages is not None:
        known = {key: value for key, value in known.items() if key != "input"} | {"messages": changes.messages}
    if changes.max_steps is not None:
        known["max_steps"] = changes.max_steps
    if changes.model is not None:
        known.pop("override_model", None)
    try:
        return SendRequest.model_validate(known)
    except ValidationError as error:
        # As if it had been sent to the route for messages: what is wrong is said in the same words.
        problems = [{**problem, "loc": ("body", *problem["loc"])} for problem in error.errors()]
        raise RequestValidationError(problems) from None


async def _forked(parts: Server, moment: Moment, changes: ForkAgent, *, with_step: bool) -> AgentState:
    if changes.model is not None:
        await parts.registry.find(changes.model)  # before anything is made

    def make(connection: Connection) -> AgentState:
        return time_travel.fork(connection, moment, changes.name, with_step=with_step)

    made = await parts.database.write(make)
    sent = changes.model_dump(include={"model", "system"}, exclude_none=True)
    if sent:
        made = await parts.agents.update(made.id, UpdateAgent.model_validate(sent))
    return await completed(parts, made)
