"""Databases with agents and histories in them, filled before a server starts.

The first agent is made by the server's own code; the others are copies of its rows, because ten thousand real ones
would take a minute. Messages go through the store's functions, with their place in the full-text index.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, insert, select

from benchmarks.programs import Program, keys
from benchmarks.talk import SYSTEM, length, said
from letta.api.context import Server
from letta.app import close_server, open_server
from letta.schemas.agents import CreateAgent
from letta.schemas.common import new_id
from letta.schemas.messages import Message, Role, TextPart
from letta.settings import Settings
from letta.store import conversations, messages, search
from letta.store.tables import agent_blocks, agent_tools, agents, block_versions, blocks
from letta.store.tables import conversations as conversation_rows
from letta.store.tables import messages as message_rows

_BATCH = 1_000
_START = datetime(2026, 1, 1, tzinfo=UTC)
AGENT = {
    "name": "measured",
    "system": SYSTEM,
    "memory_blocks": [
        {"label": "human", "value": "Name: Bob. Likes gardens, trains and short answers."},
        {"label": "persona", "value": "I am a friendly agent that keeps its promises."},
    ],
}
"""The agent that is measured, as a request to create it."""


@asynccontextmanager
async def opened(folder: Path, upstream: Program) -> AsyncIterator[Server]:
    """The insides of a server over `folder`, without HTTP and without waiting for the disk."""
    settings = Settings(data_dir=folder, sqlite_synchronous="OFF", discover_local=False)
    server = await open_server(settings, keys(upstream))
    try:
        yield server
    finally:
        await close_server(server)


async def make_agents(server: Server, model: str, count: int, **fields: Any) -> list[str]:
    """`count` agents that are alike, with two blocks and the default tools each. Answers their ids."""
    request = CreateAgent.model_validate({**AGENT, "model": f"openai/{model}", **fields})
    first = (await server.agents.create(request)).id
    ids = [first]
    while len(ids) < count:
        ids += await server.database.write(_copies, first, len(ids), min(_BATCH, count - len(ids)))
    return ids


async def give_history(server: Server, agent_id: str, *, stored: int, context: int) -> None:
    """Store `stored` messages; the model sees the last ones that hold about `context` tokens."""
    for start in range(0, stored, _BATCH):
        await server.database.write(_store_messages, agent_id, start, min(stored, start + _BATCH))
    first = 1 + stored - length(context)
    await server.database.write(conversations.move_window, agent_id, first, None, next_position=1 + stored)


def _store_messages(connection: Connection, agent_id: str, start: int, end: int) -> None:
    made = [_message(agent_id, number) for number in range(start, end)]
    messages.add(connection, made)
    search.index(connection, made)


def _message(agent_id: str, number: int) -> Message:
    return Message(
        id=new_id("message"),
        role=(Role.USER, Role.ASSISTANT)[number % 2],
        parts=[TextPart(text=said(number))],
        agent_id=agent_id,
        conversation_id=agent_id,
        created_at=_START + timedelta(seconds=number),
        position=1 + number,
    )


def _copies(connection: Connection, agent_id: str, already: int, count: int) -> list[str]:
    owned = {
        table: _rows(connection, table, column, [agent_id])
        for table, column in (
            (agents, "id"),
            (conversation_rows, "agent_id"),
            (message_rows, "agent_id"),
            (agent_tools, "agent_id"),
            (agent_blocks, "agent_id"),
        )
    }
    block_ids = [row["block_id"] for row in owned[agent_blocks]]
    owned = {
        agents: owned.pop(agents),
        blocks: _rows(connection, blocks, "id", block_ids),
        block_versions: _rows(connection, block_versions, "block_id", block_ids),
        **owned,
    }
    renamed = [
        {agent_id: new_id("agent"), **{block_id: new_id("block") for block_id in block_ids}} for _ in range(count)
    ]
    for table, found in owned.items():
        copies = [_renamed(row, names, already + number) for number, names in enumerate(renamed) for row in found]
        connection.execute(insert(table), copies)
    return [names[agent_id] for names in renamed]


def _rows(connection: Connection, table: Table, column: str, values: Sequence[str]) -> list[dict[str, Any]]:
    query = select(table).where(table.c[column].in_(values))
    return [dict(row) for row in connection.execute(query).mappings()]


def _renamed(row: dict[str, Any], names: dict[str, str], number: int) -> dict[str, Any]:
    """A copy with new ids, a little younger than the one before."""
    copy = {key: names.get(value, value) if isinstance(value, str) else value for key, value in row.items()}
    if str(row.get("id", "")).startswith("message-"):
        copy["id"] = new_id("message")
    if isinstance(row.get("created_at"), datetime):
        copy["created_at"] = row["created_at"] + timedelta(microseconds=number)
    return copy
