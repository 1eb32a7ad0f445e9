"""Calls that wait too long are closed once, whoever looks, and not while somebody works on their conversation."""

import asyncio
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection
from tests.store.seeds import a_message, a_run, an_agent

from letta.runtime.expiry import Expiry
from letta.schemas.messages import Role, ToolCallPart
from letta.store import conversations, messages, waiting
from letta.store.access import Database
from letta.store.query import now

MINUTE = timedelta(seconds=60)


def _agent_that_waits(connection: Connection, /, **run: Any) -> str:
    agent_id = an_agent(connection)
    call = ToolCallPart(id="call-1", name="look", pending=True)
    run_id = a_run(connection, agent_id)
    asked = a_message(connection, agent_id, 1, "", call, role=Role.ASSISTANT, run_id=run_id, step_id="step-1")
    conversations.advance(connection, agent_id, 2, asked.created_at)
    conversations.set_pending(connection, agent_id, asked.id)
    if run:
        a_run(connection, agent_id, **run)
    return agent_id


def _returns(connection: Connection, agent_id: str) -> list[str]:
    found = messages.from_position(connection, conversations.thread(connection, agent_id), 0)
    return [str(result.content) for message in found for result in message.tool_returns]


async def test_of_several_that_look_at_once_one_closes_a_call(database: Database) -> None:
    agent_id = await database.write(_agent_that_waits)
    await asyncio.gather(*(Expiry(database, 60).look(now() - MINUTE) for _ in range(4)))
    assert await database.read(_returns, agent_id) == [
        "Error: nobody answered this call in time. It expired and was not made."
    ]
    assert await database.read(waiting.since_before, now(), 10) == []


async def test_call_whose_conversation_is_being_worked_on_goes_on_waiting(database: Database) -> None:
    agent_id = await database.write(_agent_that_waits, status="running")
    await Expiry(database, 60).look(now() - MINUTE)
    assert await database.read(_returns, agent_id) == []


async def test_call_that_has_not_waited_for_long_goes_on_waiting(database: Database) -> None:
    agent_id = await database.write(_agent_that_waits)
    await Expiry(database, 60).look(now() - timedelta(days=3650))
    assert await database.read(_returns, agent_id) == []
