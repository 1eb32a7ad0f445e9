"""What is said in a group, who has heard it, and whose turn it is to let the group talk.

The last `KEPT` lines of a group are kept, for agents that have not heard them yet. Knows nothing of how an agent is
told.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from sqlalchemy import Connection, delete, func, insert, or_, select, update

from letta.errors import NotFound
from letta.store import clock
from letta.store.query import now
from letta.store.runs import OPEN
from letta.store.tables import group_agents, group_lines, groups, runs

KEPT = 200
LEASE = timedelta(seconds=15)


class Line(NamedTuple):
    """Something said: by an agent, or (`speaker` None) by whoever sent a message to the group.

    `message` is a message of a request, as JSON.
    """

    position: int
    speaker: str | None
    message: dict[str, Any]


def say(connection: Connection, group_id: str, speaker: str | None, messages: Sequence[dict[str, Any]]) -> None:
    """Add lines at the end. Raises letta.errors.NotFound when the group is gone."""
    held = select(groups.c.id).where(groups.c.id == group_id).with_for_update()
    if connection.execute(held).first() is None:
        raise NotFound(f"group {group_id} not found")
    latest = select(func.coalesce(func.max(group_lines.c.position), 0)).where(group_lines.c.group_id == group_id)
    end, moment = connection.execute(latest).scalar_one(), now()
    values = [
        {"group_id": group_id, "position": position, "speaker": speaker, "message": message, "created_at": moment}
        for position, message in enumerate(messages, end + 1)
    ]
    if values:
        connection.execute(insert(group_lines), values)
    old = group_lines.c.position <= end + len(values) - KEPT
    connection.execute(delete(group_lines).where(group_lines.c.group_id == group_id, old))


def unheard(connection: Connection, group_id: str, agent_id: str, *, leads: bool = False) -> list[Line]:
    """What others said that the agent has not heard, oldest first; `leads`: it is the agent that leads the group."""
    upto: Any = select(groups.c.leader_heard).where(groups.c.id == group_id)
    if not leads:
        upto = select(group_agents.c.heard).where(
            group_agents.c.group_id == group_id, group_agents.c.agent_id == agent_id
        )
    query = select(group_lines).where(
        group_lines.c.group_id == group_id,
        group_lines.c.position > func.coalesce(upto.scalar_subquery(), 0),
        or_(group_lines.c.speaker.is_(None), group_lines.c.speaker != agent_id),
    )
    found = connection.execute(query.order_by(group_lines.c.position))
    return [Line(row.position, row.speaker, row.message) for row in found]


def heard(connection: Connection, group_id: str, agent_id: str, upto: int, *, leads: bool = False) -> None:
    """Note that the agent has heard everything up to a position."""
    if leads:
        connection.execute(update(groups).where(groups.c.id == group_id).values(leader_heard=upto))
        return
    mine = update(group_agents).where(group_agents.c.group_id == group_id, group_agents.c.agent_id == agent_id)
    connection.execute(mine.values(heard=upto))


def forget(connection: Connection, group_id: str) -> None:
    """Begin anew: nobody has said anything, no turn was counted."""
    connection.execute(delete(group_lines).where(group_lines.c.group_id == group_id))
    connection.execute(update(group_agents).where(group_agents.c.group_id == group_id).values(heard=0))
    begun = {"leader_heard": 0, "last_processed_message_id": None}
    connection.execute(update(groups).where(groups.c.id == group_id).values(**begun))
    counted = groups.c.turns_counter.is_not(None)
    connection.execute(update(groups).where(groups.c.id == group_id, counted).values(turns_counter=0))


# -- one turn at a time ------------------------------------------------------------------------------------------------


def claim(connection: Connection, group_id: str, owner: str) -> bool:
    """Take the group's turn, which has to be renewed within `LEASE`. False: somebody else has it.

    Raises:
        letta.errors.NotFound: no such group.
    """
    free = or_(groups.c.turn_owner.is_(None), groups.c.turn_until < clock.moment(connection))
    mine = {"turn_owner": owner, "turn_until": clock.moment(connection, LEASE)}
    if connection.execute(update(groups).where(groups.c.id == group_id, free).values(mine)).rowcount == 1:
        return True
    if connection.execute(select(groups.c.id).where(groups.c.id == group_id)).first() is None:
        raise NotFound(f"group {group_id} not found")
    return False


def is_taken(connection: Connection, group_id: str) -> bool:
    """Whether the group is in the middle of a turn."""
    taken = groups.c.turn_owner.is_not(None), groups.c.turn_until >= clock.moment(connection)
    return connection.execute(select(groups.c.id).where(groups.c.id == group_id, *taken)).first() is not None


def renew(connection: Connection, group_id: str, owner: str) -> None:
    mine = update(groups).where(groups.c.id == group_id, groups.c.turn_owner == owner)
    connection.execute(mine.values(turn_until=clock.moment(connection, LEASE)))


def release(connection: Connection, group_id: str, owner: str) -> None:
    mine = update(groups).where(groups.c.id == group_id, groups.c.turn_owner == owner)
    connection.execute(mine.values(turn_owner=None, turn_until=None))


def release_all(connection: Connection) -> None:
    """End every turn: for a database that only one process can have open, when it starts."""
    connection.execute(update(groups).values(turn_owner=None, turn_until=None))


def open_runs(connection: Connection, group_id: str, agent_ids: Sequence[str]) -> list[str]:
    """The unfinished runs of these agents that belong to the group's talk, oldest first."""
    query = select(runs.c.id, runs.c.request).where(runs.c.agent_id.in_(agent_ids), runs.c.status.in_(OPEN))
    found = connection.execute(query.order_by(runs.c.created_at, runs.c.id))
    return [row.id for row in found if row.request.get("group_id") == group_id]
