"""An agent as it was: read at a step, made again from there, and asked once more."""

from typing import Any

from pydantic import Field

from letta.schemas.agents import AgentState
from letta.schemas.common import Body, JsonObject, Timestamp, Wire


class PastBlock(Wire):
    """A memory block as it was; `version` is its number in the block's history."""

    id: str
    label: str
    value: str
    description: str | None = None
    limit: int
    version: int


class PastState(Wire):
    """An agent right after a step.

    `configuration` holds its fields by name, and `tools` as ids with names. `messages` is what its model was shown
    last, the oldest first, with the summary of what came before, if any; older messages are listed as ever.
    `missing_blocks` are the ids of blocks it had that were deleted since, with their history.
    """

    agent_id: str
    conversation_id: str
    run_id: str
    step_id: str
    created_at: Timestamp
    configuration: JsonObject
    blocks: list[PastBlock]
    missing_blocks: list[str]
    messages: list[JsonObject]


class ForkAgent(Body):
    """How a new agent differs from what the old one was."""

    name: str | None = Field(default=None, description="The new agent's name; without it the old one's, marked")
    model: str | None = Field(default=None, description="Another model's handle")
    system: str | None = Field(default=None, description="Other instructions")


class ReplayRun(ForkAgent):
    """How the agent that is asked again differs; `messages` are said in place of the run's own."""

    messages: list[JsonObject] | None = None
    max_steps: int | None = Field(default=None, ge=1)


class Replayed(Wire):
    """The new agent, and what it answered: the fields of an answer to sent messages."""

    agent: AgentState
    messages: list[Any]
    stop_reason: JsonObject
    usage: JsonObject
