"""Blocks that belong to one conversation: copies that stand in for the agent's blocks with the same labels.

What the agent writes to a copy stays in that conversation. A copy keeps its label, because that is what it stands for,
and no list of blocks shows it.
"""

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, bindparam, delete, insert, select

from letta.errors import InvalidValue, NotFound
from letta.schemas.blocks import Block, CreateBlock
from letta.store import blocks
from letta.store.blocks import USER, Author
from letta.store.tables import blocks as block_rows
from letta.store.tables import conversation_blocks

_of_conversation = (
    select(conversation_blocks.c.block_id)
    .where(conversation_blocks.c.conversation_id == bindparam("conversation_id"))
    .order_by(conversation_blocks.c.position)
)


def of_conversation(connection: Connection, conversation_id: str) -> list[Block]:
    """The conversation's own copies, in their order."""
    ids = list(connection.execute(_of_conversation, {"conversation_id": conversation_id}).scalars())
    return blocks.with_ids(connection, ids)


def ids(connection: Connection, conversation_ids: Sequence[str]) -> dict[str, list[str]]:
    """The ids of the copies of each conversation that has some."""
    query = select(conversation_blocks.c.conversation_id, conversation_blocks.c.block_id).where(
        conversation_blocks.c.conversation_id.in_(conversation_ids)
    )
    found: dict[str, list[str]] = {}
    for conversation_id, block_id in connection.execute(query.order_by(conversation_blocks.c.position)):
        found.setdefault(conversation_id, []).append(block_id)
    return found


def seen(connection: Connection, agent_id: str, conversation_id: str) -> list[Block]:
    """The agent's blocks as they are in a conversation."""
    mine = blocks.of_agent(connection, agent_id)
    return mine if conversation_id == agent_id else overlaid(mine, of_conversation(connection, conversation_id))


def overlaid(mine: Sequence[Block], copies: Sequence[Block]) -> list[Block]:
    """Each copy in the place of the block with its label; those of blocks the agent has no more at the end."""
    standing_in = {copy.label: copy for copy in copies}
    shown = [standing_in.pop(block.label, block) for block in mine]
    return [*shown, *standing_in.values()]


def labelled(connection: Connection, agent_id: str, conversation_id: str, label: str) -> Block:
    """The block with this label as it is in a conversation. Raises letta.errors.NotFound naming the labels."""
    mine = seen(connection, agent_id, conversation_id)
    for block in mine:
        if block.label == label:
            return block
    labels = ", ".join(str(block.label) for block in mine) or "none"
    raise NotFound(f"block {label!r} not found: agent {agent_id} has {labels}")


def isolate(connection: Connection, agent_id: str, conversation_id: str, labels: Iterable[str]) -> None:
    """Give a new conversation copies of the agent's blocks with these labels.

    Raises letta.errors.InvalidValue for a label the agent has no block with.
    """
    mine = {block.label: block for block in blocks.of_agent(connection, agent_id)}
    wanted = list(dict.fromkeys(labels))
    for label in wanted:
        if label not in mine:
            having = ", ".join(str(known) for known in mine) or "none"
            raise InvalidValue(f"isolated_block_labels: agent {agent_id} has no block {label!r} (it has {having})")
    copy(connection, agent_id, conversation_id, [mine[label] for label in wanted])


def copy(
    connection: Connection, agent_id: str, conversation_id: str, originals: Sequence[Block], author: Author = USER
) -> None:
    """Give a conversation copies of blocks, as they are now."""
    for position, original in enumerate(originals):
        request = CreateBlock.model_validate({**original.model_dump(), "hidden": True})
        made = blocks.create(connection, request, author)
        connection.execute(
            insert(conversation_blocks).values(
                conversation_id=conversation_id, block_id=made.id, agent_id=agent_id, position=position
            )
        )


def is_copy(connection: Connection, block_id: str) -> bool:
    """Whether a block belongs to one conversation."""
    query = select(conversation_blocks.c.block_id).where(conversation_blocks.c.block_id == block_id)
    return connection.execute(query).first() is not None


def forget(connection: Connection, *, conversation_id: str | None = None, agent_id: str | None = None) -> None:
    """Delete the copies of a conversation, or of all conversations of an agent."""
    mine = select(conversation_blocks.c.block_id)
    if conversation_id is not None:
        mine = mine.where(conversation_blocks.c.conversation_id == conversation_id)
    if agent_id is not None:
        mine = mine.where(conversation_blocks.c.agent_id == agent_id)
    connection.execute(delete(block_rows).where(block_rows.c.id.in_(mine)))
