"""What is told to those who measure: that a run got its turn, what a step and a tool took, how a run ended.

The loop and the runner call an `Observer` at these four places and know nothing of metrics or traces. Nothing that was
said is told, only names, numbers and times.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from time import perf_counter_ns

from letta.models.protocol import Usage
from letta.runtime.events import Finished
from letta.store.query import now
from letta.store.runs import Work
from letta.tools.context import Errand, ErrandRunner, ToolResult


@dataclass(frozen=True, slots=True)
class StepSeen:
    """A step that was stored. Durations are nanoseconds: all of it, the model's part, that of tools outside.

    `first_token_ns` counts from the start of the run and is there in its first step only.
    """

    work: Work
    step_id: str
    agent_name: str
    handle: str
    model: str
    provider: str
    usage: Usage
    finish_reason: str
    started_at: datetime
    whole_ns: int
    model_ns: int
    tools_ns: int
    first_token_ns: int | None


@dataclass(frozen=True, slots=True)
class ToolSeen:
    """A call that was carried out outside the step's transaction."""

    run_id: str
    step_id: str
    call_id: str
    name: str
    type: str
    ok: bool
    started_at: datetime
    took_ns: int


class Observer:
    """Does nothing: whoever measures overrides what it needs. Methods must be quick, and must not raise."""

    def run_began(self, work: Work, waited: float) -> None:
        """A run got its turn after `waited` seconds."""

    def step_ended(self, step: StepSeen) -> None:
        """A step was stored."""

    def tool_ended(self, tool: ToolSeen) -> None:
        """A tool answered."""

    def run_ended(self, work: Work, finished: Finished) -> None:
        """A run ended in this process, and its row says so."""

    def run_left(self, work: Work) -> None:
        """A run that began here goes on later, or in another process."""

    def close(self) -> None:
        """Hand over what was not handed over yet. May take seconds."""


NOBODY = Observer()


class Observers(Observer):
    """Tells several."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = tuple(observers)

    def run_began(self, work: Work, waited: float) -> None:
        for observer in self._observers:
            observer.run_began(work, waited)

    def step_ended(self, step: StepSeen) -> None:
        for observer in self._observers:
            observer.step_ended(step)

    def tool_ended(self, tool: ToolSeen) -> None:
        for observer in self._observers:
            observer.tool_ended(tool)

    def run_ended(self, work: Work, finished: Finished) -> None:
        for observer in self._observers:
            observer.run_ended(work, finished)

    def run_left(self, work: Work) -> None:
        for observer in self._observers:
            observer.run_left(work)

    def close(self) -> None:
        for observer in self._observers:
            observer.close()


def timed(runner: ErrandRunner, observer: Observer) -> ErrandRunner:
    """A runner of tools that tells how long each call took."""

    async def run(errand: Errand) -> ToolResult:
        started_at, started = now(), perf_counter_ns()
        ok = False
        try:
            result = await runner(errand)
            ok = result.ok
        finally:
            observer.tool_ended(
                ToolSeen(
                    errand.run_id,
                    errand.step_id,
                    errand.call_id,
                    str(errand.tool.name),
                    str(errand.tool.tool_type),
                    ok,
                    started_at,
                    perf_counter_ns() - started,
                )
            )
        return result

    return run
