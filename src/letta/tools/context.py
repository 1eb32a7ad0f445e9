"""What a tool may touch while it runs, and what it answers."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from letta.errors import ToolFailed
from letta.schemas.agents import AgentState
from letta.schemas.blocks import Block
from letta.schemas.messages import ImagePart
from letta.schemas.tools import Tool
from letta.store import blocks, isolation
from letta.store.blocks import Author


@dataclass(frozen=True, slots=True)
class ToolContext:
    """The transaction of the step, and whose step it is. `timezone` is an IANA name."""

    connection: Connection
    agent_id: str
    conversation_id: str
    timezone: str
    author: Author

    def block(self, label: str) -> Block:
        """The agent's block as it is now in this conversation, held until the step is stored.

        Raises letta.errors.NotFound naming the labels.
        """
        found = isolation.labelled(self.connection, self.agent_id, self.conversation_id, label)
        return blocks.held(self.connection, found)

    def has_block(self, label: str) -> bool:
        """Whether there is a block with this label in this conversation."""
        mine = isolation.seen(self.connection, self.agent_id, self.conversation_id)
        return any(block.label == label for block in mine)

    def detach_block(self, block: Block) -> None:
        """Take a block out of the agent's memory. Raises letta.errors.ToolFailed for one of this conversation alone."""
        if self.conversation_id != self.agent_id and isolation.is_copy(self.connection, block.id):
            raise ToolFailed(f"block {block.label!r} belongs to this conversation and stays in it: empty it instead.")
        blocks.detach(self.connection, self.agent_id, block.id)

    def change_block(self, block: Block, **changes: Any) -> Block:
        """Write a block under the step's name. Raises letta.errors.InvalidValue over the limit."""
        return blocks.change(self.connection, block.id, changes, self.author)


@dataclass(frozen=True, slots=True)
class Errand:
    """A call that leaves the process, or takes long: it runs between two transactions, never inside one."""

    tool: Tool
    arguments: dict[str, Any]
    agent: AgentState
    conversation_id: str
    run_id: str
    step_id: str
    call_id: str
    # Agents that wait for what comes of this run, the first caller first.
    asked_by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool answered. `text` goes to the model, and so do `images` where it can see."""

    text: str
    ok: bool = True
    stdout: tuple[str, ...] = ()
    stderr: tuple[str, ...] = ()
    images: tuple[ImagePart, ...] = ()


ErrandRunner = Callable[[Errand], Awaitable[ToolResult]]
"""Carries out the calls of one type of tool. What it raises as a `LettaError` is shown to the model."""
