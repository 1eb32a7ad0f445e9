"""Points in an agent's past: what was said, what its memory held and what it was, right after a step or before a run.

Nothing is copied to remember them: messages are never rewritten, blocks keep every version, and steps name the
configuration of the agent. Knows nothing of how an agent is made again.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, func, or_, select

from letta.errors import Conflict, NotFound
from letta.schemas.messages import Message
from letta.schemas.time_travel import PastBlock
from letta.store import configurations, conversations, forks, lineage, messages
from letta.store.tables import block_versions, runs, steps
from letta.store.tables import configurations as configuration_rows
from letta.store.tables import messages as message_rows


@dataclass(frozen=True, slots=True)
class Moment:
    """A point in a conversation: `position` is the last one said by then, `at` the time of it."""

    agent_id: str
    conversation_id: str
    run_id: str
    step_id: str
    position: int
    at: datetime
    configuration: dict[str, Any]


class Seen(NamedTuple):
    """The step in which a model was last shown something, and when it began."""

    step_id: str
    at: datetime


def after_step(connection: Connection, step_id: str) -> Moment:
    """The moment after a step.

    Raises:
        letta.errors.NotFound: no such step.
        letta.errors.Conflict: the step failed, so that nothing came of it.
    """
    step = connection.execute(select(steps).where(steps.c.id == step_id)).first()
    if step is None:
        raise NotFound(f"step {step_id} not found")
    last = _said(connection, message_rows.c.step_id == step_id, newest=True)
    if last is None or step.configuration is None:
        raise Conflict(f"step {step_id} failed: nothing came of it that could be read or gone back to")
    content = configurations.get(connection, step.agent_id, step.configuration)
    return Moment(step.agent_id, last.conversation_id, step.run_id, step_id, last.position, last.created_at, content)


def before_run(connection: Connection, run_id: str) -> tuple[Moment, dict[str, Any]]:
    """The moment before a run, and the request that began it.

    Raises:
        letta.errors.NotFound: no such run.
        letta.errors.Conflict: the run has no step that succeeded.
    """
    run = connection.execute(select(runs.c.request).where(runs.c.id == run_id)).first()
    if run is None:
        raise NotFound(f"run {run_id} not found")
    succeeded = select(steps).where(steps.c.run_id == run_id, steps.c.configuration.is_not(None))
    step = connection.execute(succeeded.order_by(steps.c.created_at, steps.c.id).limit(1)).first()
    first = _said(connection, message_rows.c.run_id == run_id, newest=False)
    if step is None or first is None:
        raise Conflict(f"run {run_id} has no step that succeeded: there is nothing to ask again")
    content = configurations.get(connection, step.agent_id, step.configuration)
    # The agent's own writes come with messages that are later than this one.
    moment = Moment(
        step.agent_id, first.conversation_id, run_id, step.id, first.position - 1, first.created_at, content
    )
    return moment, run.request


def blocks_at(connection: Connection, moment: Moment, *, with_step: bool) -> tuple[list[PastBlock], list[str]]:
    """The agent's blocks as they were, and the ids of those that are gone with their history.

    `with_step`: those the moment's step made belong to it.
    """
    wanted = [str(block["id"]) for block in moment.configuration["blocks"]]
    if with_step:
        made = select(block_versions.c.block_id).where(
            block_versions.c.step_id == moment.step_id, block_versions.c.version == 1
        )
        wanted += [one for one in connection.execute(made).scalars() if one not in wanted]
    by_then = block_versions.c.created_at <= moment.at
    if with_step:
        by_then = or_(by_then, block_versions.c.step_id == moment.step_id)
    newest = (
        select(block_versions.c.block_id, func.max(block_versions.c.version).label("version"))
        .where(block_versions.c.block_id.in_(wanted), by_then)
        .group_by(block_versions.c.block_id)
        .subquery()
    )
    same = (newest.c.block_id == block_versions.c.block_id) & (newest.c.version == block_versions.c.version)
    found = {
        row.block_id: PastBlock(
            id=row.block_id,
            label=row.label,
            value=row.value,
            description=row.description,
            limit=row.limit,
            version=row.version,
        )
        for row in connection.execute(select(block_versions).join(newest, same))
    }
    return [found[one] for one in wanted if one in found], [one for one in wanted if one not in found]


def last_seen(connection: Connection, agent_id: str, conversation_id: str, block_ids: list[str]) -> dict[str, Seen]:
    """When the model last saw blocks as they are now: the newest step of a conversation that was shown them.

    A block that was written or attached since then is left out.
    """
    written = select(block_versions.c.block_id, func.max(block_versions.c.created_at))
    written = written.where(block_versions.c.block_id.in_(block_ids)).group_by(block_versions.c.block_id)
    newest = (
        select(steps.c.configuration, func.max(steps.c.created_at).label("at"))
        .join(runs, runs.c.id == steps.c.run_id)
        .where(
            steps.c.agent_id == agent_id,
            runs.c.conversation_id == conversation_id,
            steps.c.configuration.is_not(None),
        )
        .group_by(steps.c.configuration)
        .subquery()
    )
    shown = (
        select(steps.c.id, steps.c.created_at, configuration_rows.c.content)
        .join(newest, (newest.c.configuration == steps.c.configuration) & (newest.c.at == steps.c.created_at))
        .join(configuration_rows, configuration_rows.c.digest == newest.c.configuration)
        .where(steps.c.agent_id == agent_id, configuration_rows.c.agent_id == agent_id)
        .order_by(steps.c.created_at, steps.c.id)
    )
    seen = {
        str(block["id"]): Seen(step.id, step.created_at)
        for step in connection.execute(shown)
        for block in step.content["blocks"]
    }
    return {
        block_id: seen[block_id]
        for block_id, at in connection.execute(written).all()
        if block_id in seen and seen[block_id].at >= at
    }


def window_at(connection: Connection, moment: Moment) -> tuple[int, str | None]:
    """The position from which on the model was shown messages, and the id of the summary before them, if any."""
    thread = conversations.thread(connection, moment.conversation_id)
    return forks.window_at(connection, thread, lineage.segments(connection, thread), moment.position)


def said_by(connection: Connection, moment: Moment, first: int = 0) -> list[Message]:
    """What was said by then, from position `first` on, the oldest first."""
    thread = conversations.thread(connection, moment.conversation_id)
    said = messages.from_position(connection, thread, first)
    return [message for message in said if (message.position or 0) <= moment.position]


def _said(connection: Connection, condition: Any, *, newest: bool) -> Any:
    order = message_rows.c.position.desc() if newest else message_rows.c.position
    columns = message_rows.c.conversation_id, message_rows.c.position, message_rows.c.created_at
    return connection.execute(select(*columns).where(condition).order_by(order).limit(1)).first()
