"""What goes into the transactions of a step: who acts, what the model answered, what came of its calls."""

from collections.abc import Mapping
from dataclasses import dataclass

from letta.models.protocol import Answer
from letta.models.provider import Resolved
from letta.runtime.events import RunUsage
from letta.runtime.recording import Record
from letta.runtime.records import Timing
from letta.runtime.styles import Style
from letta.schemas.agents import AgentState
from letta.schemas.messages import Message, ToolCallPart, ToolReturnPart
from letta.store.configurations import Configuration
from letta.store.runs import Work
from letta.store.traces import Kept
from letta.tools.rules import RuleBook
from letta.tools.toolbox import Toolbox


@dataclass(frozen=True, slots=True)
class Scene:
    """Who acts, with what, and how far the run is. `is_last`: no model call may follow.

    `record` keeps what was shown of a run whose pieces are.
    """

    work: Work
    agent: AgentState
    toolbox: Toolbox
    rules: RuleBook
    style: Style
    usage: RunUsage
    timing: Timing
    is_last: bool
    record: Record | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """A model's answer, with what came before it and is not stored yet. `traced` is the conversation's last trace.

    `is_recorded`: the agent's configuration is stored already.
    """

    scene: Scene
    id: str
    message_id: str
    inputs: tuple[Message, ...]
    answer: Answer
    resolved: Resolved
    traced: Kept | None
    keeps_trace: bool
    configuration: Configuration
    is_recorded: bool

    @property
    def calls(self) -> list[ToolCallPart]:
        return [part for part in self.answer.parts if isinstance(part, ToolCallPart)]


@dataclass(frozen=True, slots=True)
class Results:
    """What came of calls that are stored already: `known` results by call id; the others run in the transaction.

    `before` and `after` are messages to store around the results: a person's answer, and what they said besides.
    `denied` are the ids of calls a person did not allow.
    """

    scene: Scene
    asked: Message
    known: Mapping[str, ToolReturnPart]
    before: tuple[Message, ...] = ()
    after: tuple[Message, ...] = ()
    denied: frozenset[str] = frozenset()
