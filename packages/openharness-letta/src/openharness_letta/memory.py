"""The memory blocks of agents. Knows nothing of messages or of the archive."""

from typing import Any

from letta_client import APIError, AsyncLetta, Letta, NotFoundError

from openharness_letta.connection import Connection, url_path
from openharness_letta.errors import about
from openharness_letta.types import MemoryBlock

DEFAULT_LIMIT = 5000
DEFAULT_HUMAN = "The user has not provided information yet."
DEFAULT_PERSONA = "I am a helpful AI assistant."
# Marks blocks made here for one agent, so that they can go when it goes.
OWN = {"made_by": "openharness_letta"}


class MemoryBlockManager:
    """Reads and changes the blocks of agents through a letta-client, asynchronous or not.

    Every method raises letta-client's `NotFoundError` for an agent that is not there.
    """

    def __init__(self, client: AsyncLetta | Letta) -> None:
        self._connection = Connection(client)

    async def get_blocks(self, agent_id: str) -> list[MemoryBlock]:
        """Every block of an agent."""
        with about("Agent", agent_id):
            return [_block(found) for found in await self._connection.every(_blocks_path(agent_id))]

    async def get_block(self, agent_id: str, label: str) -> MemoryBlock | None:
        """The block of that label, or `None`."""
        found = await self._find(agent_id, label)
        return None if found is None else _block(found)

    async def update_block(self, agent_id: str, label: str, value: str) -> MemoryBlock:
        """Replace the text of a block. Raises `NotFoundError` if the agent has none of that label."""
        with about("Block", f"{label} of agent {agent_id}"):
            return _block(await self._connection.send("patch", _blocks_path(agent_id, label), {"value": value}))

    async def add_block(self, agent_id: str, block: MemoryBlock) -> MemoryBlock:
        """Make a block and attach it. If it cannot be attached, it is taken back."""
        with about("Agent", agent_id):
            made = await self._connection.send("post", url_path("blocks", ""), {**block_body(block), "metadata": OWN})
            try:
                await self._connection.send("patch", _blocks_path(agent_id, "attach", made["id"]))
            except APIError:
                await self._connection.send("delete", url_path("blocks", made["id"]))
                raise
            return _block(made)

    async def delete_block(self, agent_id: str, label: str) -> None:
        """Detach the block of that label, and delete it if no other agent has it. Nothing happens if there is none."""
        found = await self._find(agent_id, label)
        if found is None:
            return
        with about("Agent", agent_id):
            await self._connection.send("patch", _blocks_path(agent_id, "detach", found["id"]))
        if await unattached(self._connection, found["id"]):
            await self._connection.send("delete", url_path("blocks", found["id"]))

    def get_standard_blocks(self, human_info: str = "", persona_info: str = "") -> list[MemoryBlock]:
        """The two blocks a new agent has: who the user is, and who the agent is."""
        return standard_blocks(human_info, persona_info)

    async def _find(self, agent_id: str, label: str) -> dict[str, Any] | None:
        with about("Agent", agent_id):
            blocks = await self._connection.every(_blocks_path(agent_id))
        return next((block for block in blocks if block.get("label") == label), None)


def standard_blocks(human_info: str = "", persona_info: str = "") -> list[MemoryBlock]:
    """A `human` and a `persona` block, with the usual texts where none are given."""
    return [MemoryBlock("human", human_info or DEFAULT_HUMAN), MemoryBlock("persona", persona_info or DEFAULT_PERSONA)]


def block_body(block: Any) -> dict[str, Any]:
    """What the server makes a block from. Takes anything with a label and a value; the rest may be missing."""
    body: dict[str, Any] = {
        "label": getattr(block.label, "value", block.label),
        "value": block.value,
        "limit": getattr(block, "limit", None) or DEFAULT_LIMIT,
    }
    if getattr(block, "template_name", None):
        body["template_name"] = block.template_name
    if getattr(block, "template", False):
        body["is_template"] = True
    return body


async def unattached(connection: Connection, block_id: str) -> bool:
    """Whether a block is there and no agent has it."""
    try:
        return not await connection.get(url_path("blocks", block_id, "agents"), limit=1)
    except NotFoundError:
        return False


def _block(found: dict[str, Any]) -> MemoryBlock:
    return MemoryBlock(
        label=found.get("label") or "",
        value=found.get("value") or "",
        limit=found.get("limit"),
        template_name=found.get("template_name"),
        template=bool(found.get("is_template")),
    )


def _blocks_path(agent_id: str, *rest: str) -> str:
    return url_path("agents", agent_id, "core-memory", "blocks", *rest)
