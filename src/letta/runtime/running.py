"""A run that a process takes care of, what is said about it to others, and how it ends when something went wrong."""

import asyncio

from letta.errors import DeadlineExceeded, InterruptedTooOften, NotFound, StoreUnavailable
from letta.runtime.events import EventLog, Failure, Finished, RunUsage, failure_of
from letta.runtime.lanes import Ticket
from letta.runtime.recording import Record
from letta.schemas.runs import StopReason
from letta.store.runs import Work

# What notices are about: a run's progress, its cancelling, the end of a run of a conversation, of this process.
PROGRESS, CANCEL, FREED, STOPPING = "run:", "cancel:", "freed:", "stopping"
INTERRUPTED = Finished(
    StopReason.ERROR, RunUsage(), Failure("stream_incomplete", "The run was interrupted", 503), stored=False
)


class Running:
    """A run this process takes care of. `record` keeps the pieces of its messages, if readers are shown those."""

    def __init__(self, work: Work, ticket: Ticket | None = None) -> None:
        self.work = work
        self.ticket = ticket
        self.events = EventLog()
        self.task: asyncio.Task[None] | None = None
        self.cancelled = False
        self.expired = False
        # Why this process gave it up, for whoever can store it later.
        self.left: StoreUnavailable | None = None
        self.deadline: asyncio.TimerHandle | None = None
        # The run that answers for this one, and the first of its events that do.
        self.answered_by: tuple[Running, int] | None = None
        self.record: Record | None = None
        self.followed_until = 0.0
        self.sharing: asyncio.Task[None] | None = None

    @property
    def topic(self) -> str:
        """What notices of its progress are about."""
        return f"{PROGRESS}{self.work.id}"

    def cancel(self) -> None:
        """Somebody wants it to end. Whoever wants that later changes nothing: its end is being written."""
        if self.task is not None and not (self.cancelled or self.expired):
            self.cancelled = True
            self.task.cancel()

    def expire(self) -> None:
        """Its deadline has come."""
        if self.task is not None and not (self.cancelled or self.expired):
            self.expired = True
            self.task.cancel()


def too_late(work: Work) -> Failure:
    """The end of a run whose deadline has come."""
    seconds = work.request["deadline_seconds"]
    return failure_of(DeadlineExceeded(f"run {work.id} did not end within {seconds:g} seconds (deadline_seconds)"))


def failure_of_run(error: Exception) -> Failure:
    """The end of a run that failed outside the loop; what nobody thought of is not told."""
    if isinstance(error, NotFound | InterruptedTooOften):
        return failure_of(error)
    return Failure("internal_error", "An unknown error occurred", 500)
