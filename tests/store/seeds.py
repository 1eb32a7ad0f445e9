"""Rows for tests of stores, made with the store's own functions where there is one.

Every value can be given; none matters otherwise.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, insert

from letta.schemas.blocks import Block, CreateBlock
from letta.schemas.common import new_id
from letta.schemas.messages import Message, Part, Role, TextPart
from letta.store import agents, blocks, conversations, messages, steps
from letta.store.tables import runs as run_rows

START = datetime(2026, 1, 1, 12, tzinfo=UTC)


def at(seconds: float) -> datetime:
    """A time some seconds after the start of the story."""
    return START + timedelta(seconds=seconds)


def an_agent(connection: Connection, /, **values: Any) -> str:
    """An agent with its own thread. Answers its id."""
    agent_id = new_id("agent")
    given = {
        "id": agent_id,
        "name": "Ada",
        "agent_type": "letta_v1_agent",
        "system": "Be kind.",
        "model": "letta/scripted",
        "llm_config": {"model": "scripted", "model_endpoint_type": "openai", "context_window": 32_000},
        "timezone": "UTC",
        "message_buffer_autoclear": False,
        "hidden": False,
        **values,
    }
    agents.create(connection, given)
    conversations.start(connection, agent_id, agent_id)
    return agent_id


def a_block(connection: Connection, /, label: str = "human", value: str = "Name: Bob", **values: Any) -> Block:
    return blocks.create(connection, CreateBlock(label=label, value=value, **values))


def a_run(connection: Connection, agent_id: str, *, seconds: float = 0, **values: Any) -> str:
    """A run that ended well unless `values` (columns) say otherwise. Answers its id."""
    run_id = new_id("run")
    ended = values.get("status", "completed") not in ("created", "running")
    row = {
        "id": run_id,
        "agent_id": agent_id,
        "conversation_id": agent_id,
        "status": "completed",
        "stop_reason": "end_turn" if ended else None,
        "background": False,
        "request": {"messages": [{"role": "user", "content": "hello"}]},
        "metadata": {"run_type": "send_message"},
        "attempt": 1,
        "cancel_requested": False,
        "created_at": at(seconds),
        "completed_at": at(seconds + 1) if ended else None,
        **values,
    }
    connection.execute(insert(run_rows), row)
    return run_id


def a_step(connection: Connection, agent_id: str, run_id: str, *, seconds: float = 0, **values: Any) -> str:
    """A step that went well unless `values` (columns) say otherwise. Answers its id."""
    step_id = new_id("step")
    given = {"status": "success", "stop_reason": "end_turn", "model": "scripted", **values}
    row = {"id": step_id, "agent_id": agent_id, "run_id": run_id, "created_at": at(seconds), **given}
    steps.add(connection, row)
    return step_id


def a_message(
    connection: Connection, agent_id: str, position: int, text: str = "", *parts: Part, **values: Any
) -> Message:
    """A message at a position of the agent's own thread; from the user unless `values` say otherwise."""
    message = Message(
        id=new_id("message"),
        role=values.pop("role", Role.USER),
        parts=[*([TextPart(text=text)] if text else []), *parts],
        agent_id=agent_id,
        conversation_id=values.pop("conversation_id", agent_id),
        created_at=values.pop("created_at", at(position)),
        position=position,
        **values,
    )
    messages.add(connection, [message])
    return message
