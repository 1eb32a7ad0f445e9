"""Which turns of an agent are due to be handed to its sleep-time agents, and what was said in them."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, func, select, update

from letta.schemas.groups import Group, ManagerType
from letta.schemas.messages import Message
from letta.store import messages
from letta.store.groups import FREQUENCY, get
from letta.store.runs import OPEN
from letta.store.tables import groups, runs
from letta.store.tables import messages as message_rows


def count_turn(connection: Connection, agent_id: str) -> list[str]:
    """Count a turn in every sleep-time group the agent leads. Answers the ids of those that are due now."""
    led = groups.c.manager_agent_id == agent_id, groups.c.manager_type == ManagerType.SLEEPTIME
    due = []
    for row in connection.execute(select(groups).where(*led).with_for_update()).all():
        turns = ((row.turns_counter or 0) + 1) % (row.sleeptime_agent_frequency or FREQUENCY)
        connection.execute(update(groups).where(groups.c.id == row.id).values(turns_counter=turns))
        if turns == 0:
            due.append(row.id)
    return due


def led_by(connection: Connection, agent_id: str) -> list[str]:
    """The ids of the sleep-time groups an agent leads."""
    led = groups.c.manager_agent_id == agent_id, groups.c.manager_type == ManagerType.SLEEPTIME
    return list(connection.execute(select(groups.c.id).where(*led).order_by(groups.c.created_at)).scalars())


def unprocessed(connection: Connection, group_id: str, limit: int) -> tuple[Group, list[Message], bool]:
    """What the agent that leads the group heard and said since the last hand-over, oldest first, in all conversations.

    Before the first hand-over: since the group was made. Messages that are younger than a run that still goes on wait
    (the last item says whether there is one): what it says may be older than they are, and would be passed over.

    Raises:
        letta.errors.NotFound: the group is gone.
    """
    group = get(connection, group_id)
    if group.manager_agent_id is None:
        return group, [], False
    started = select(func.min(runs.c.created_at)).where(
        runs.c.agent_id == group.manager_agent_id, runs.c.status == "running"
    )
    mark = select(message_rows.c.created_at).where(message_rows.c.id == group.last_processed_message_id)
    moment = connection.execute(mark).scalar()
    since = (moment, str(group.last_processed_message_id)) if moment else (_made_at(connection, group_id), "")
    before = connection.execute(started).scalar()
    return group, messages.between(connection, group.manager_agent_id, since, before, limit), before is not None


def mark_processed(connection: Connection, group_id: str, message_id: str | None, *, instead_of: str | None) -> None:
    """Move the mark of what was handed over, if it still stands where the caller read it."""
    mark = groups.c.last_processed_message_id
    there = mark.is_(None) if instead_of is None else mark == instead_of
    connection.execute(
        update(groups).where(groups.c.id == group_id, there).values(last_processed_message_id=message_id)
    )


def any_busy(connection: Connection, agent_ids: Sequence[str]) -> bool:
    """Whether one of the agents has an unfinished run."""
    query = select(runs.c.id).where(runs.c.agent_id.in_(agent_ids), runs.c.status.in_(OPEN)).limit(1)
    return connection.execute(query).first() is not None


def _made_at(connection: Connection, group_id: str) -> datetime:
    made: datetime = connection.execute(select(groups.c.created_at).where(groups.c.id == group_id)).scalar_one()
    return made
