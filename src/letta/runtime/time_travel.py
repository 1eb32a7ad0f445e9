"""Going back: a new agent that is what another one was, with its memory, its tools and everything said until then.

The old agent is left alone. The new one shares tools with it and nothing else: its blocks and messages are copies.
"""

from sqlalchemy import Connection

from letta.errors import Conflict, NotFound
from letta.memory.window import is_prompt
from letta.schemas.agents import AgentState
from letta.schemas.blocks import CreateBlock
from letta.schemas.common import new_id
from letta.schemas.messages import Message, Role
from letta.schemas.time_travel import PastState
from letta.schemas.tools import Tool
from letta.store import agents, blocks, conversations, messages, moments, search, tools
from letta.store.moments import Moment

_NOT_COLUMNS = frozenset({"blocks", "tags", "tools"})
_COPIED = {"label", "value", "description", "limit"}


def state(connection: Connection, step_id: str) -> tuple[PastState, list[Message]]:
    """An agent right after a step, and the messages its model was shown last.

    Raises:
        letta.errors.NotFound: no such step.
        letta.errors.Conflict: nothing came of the step.
    """
    moment = moments.after_step(connection, step_id)
    its_blocks, missing = moments.blocks_at(connection, moment, with_step=True)
    start, summary_id = moments.window_at(connection, moment)
    said = moments.said_by(connection, moment, start)
    shown = [message for message in said if not (is_prompt(message) or message.role is Role.SUMMARY)]
    if summary_id is not None:
        shown.insert(0, messages.get(connection, summary_id))
    past = PastState(
        agent_id=moment.agent_id,
        conversation_id=moment.conversation_id,
        run_id=moment.run_id,
        step_id=step_id,
        created_at=moment.at,
        configuration={key: value for key, value in moment.configuration.items() if key != "blocks"},
        blocks=its_blocks,
        missing_blocks=missing,
        messages=[],
    )
    return past, shown


def fork(connection: Connection, moment: Moment, name: str | None, *, with_step: bool) -> AgentState:
    """Make an agent that is what another one was at a moment; the old one's name is marked where none is given.

    `with_step`: what the moment's step wrote belongs to it. The new agent has the secrets the old one has now.

    Raises:
        letta.errors.Conflict: the old agent had tools or blocks that were deleted since.
    """
    its_blocks, missing = moments.blocks_at(connection, moment, with_step=with_step)
    if missing:
        raise Conflict(f"the agent had blocks that were deleted since, with what they held: {', '.join(missing)}")
    requests = [CreateBlock.model_validate(block.model_dump(include=_COPIED)) for block in its_blocks]
    values = {key: value for key, value in moment.configuration.items() if key not in _NOT_COLUMNS}
    values |= {
        "id": new_id("agent"),
        "name": name or f"{values['name']} (fork)",
        "secrets": agents.secrets(connection, moment.agent_id),
    }
    made = agents.create(
        connection,
        values,
        moment.configuration.get("tags", ()),
        blocks.create_all(connection, requests),
        _tools(connection, moment),
    )
    _copy_talk(connection, moment, made.id)
    return made


def _tools(connection: Connection, moment: Moment) -> list[Tool]:
    try:
        return tools.with_ids(connection, [str(tool["id"]) for tool in moment.configuration["tools"]])
    except NotFound as error:
        raise Conflict(f"the agent had a tool that was deleted since: {error.message}") from None


def _copy_talk(connection: Connection, moment: Moment, agent_id: str) -> None:
    """Give the new agent's own thread everything that was said, and its model what the old one's was shown."""
    said = moments.said_by(connection, moment)
    start, summary_id = moments.window_at(connection, moment)
    ids = {message.id: new_id("message") for message in said}
    last = said[-1] if said else None
    waits = last is not None and last.role is Role.ASSISTANT and any(call.pending for call in last.tool_calls)
    conversations.start(
        connection,
        agent_id,
        agent_id,
        next_position=moment.position + 1,
        window_start=start,
        summary_message_id=ids.get(summary_id) if summary_id else None,
        pending_message_id=ids[last.id] if last is not None and waits else None,
        last_message_at=last.created_at if last is not None else None,
    )
    copies = [_copy(message, agent_id, ids[message.id]) for message in said]
    messages.add(connection, copies)
    search.index(connection, copies)


def _copy(message: Message, agent_id: str, message_id: str) -> Message:
    own = {"id": message_id, "agent_id": agent_id, "conversation_id": agent_id, "run_id": None, "step_id": None}
    return message.model_copy(update={**own, "otid": None})
