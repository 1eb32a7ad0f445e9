"""Schedules: messages an agent is sent at a time, or again and again. Knows nothing of how cron is computed."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag

from letta.schemas.agents import TimezoneName
from letta.schemas.common import Body, Timestamp, Wire
from letta.schemas.runs import RunStatus
from letta.schemas.sends import MessageInput, MessageType

_EARLIEST_MS = 100_000_000_000
"""In 1973. What is smaller was meant as seconds."""
_LATEST_MS = 32_503_680_000_000
"""The year 3000."""


def _milliseconds(value: float) -> float:
    if not _EARLIEST_MS <= value < _LATEST_MS:
        raise ValueError(f"{value:g} is not a time in milliseconds since 1970, such as {1_900_000_000_000}")
    return value


class WhenBusy(StrEnum):
    """What happens when a time comes while the agent works: its message waits in line, or is left out."""

    ENQUEUE = "enqueue"
    SKIP = "skip"


class CatchUp(StrEnum):
    """What happens with times that came while no server ran: the last one counts late, or none does."""

    ONCE = "once"
    SKIP = "skip"


class OneTime(Wire):
    """At one time, in milliseconds since 1970."""

    type: Literal["one-time"] = "one-time"
    scheduled_at: Annotated[float, AfterValidator(_milliseconds)]

    @property
    def moment(self) -> datetime:
        """The time, in UTC."""
        return datetime.fromtimestamp(self.scheduled_at / 1000, UTC)


class Recurring(Wire):
    """At every time that fits a cron expression: minute, hour, day of month, month, day of week.

    `timezone` is an own field; null is the agent's, also when the agent's changes.
    """

    type: Literal["recurring"]
    cron_expression: str = Field(min_length=1, max_length=200)
    timezone: TimezoneName | None = None


def _kind(value: Any) -> str:
    kind = value.get("type") if isinstance(value, dict) else getattr(value, "type", None)
    return str(kind or "one-time")


When = Annotated[
    Annotated[OneTime, Tag("one-time")] | Annotated[Recurring, Tag("recurring")],
    Discriminator(_kind, custom_error_type="schedule_type", custom_error_message="`type` is one-time or recurring"),
]


class CreateSchedule(Body):
    """What to send and when. `when_busy` and `catch_up` are own fields."""

    never_null: ClassVar[frozenset[str]] = frozenset({"when_busy", "catch_up"})

    messages: list[MessageInput] = Field(min_length=1)
    schedule: When
    callback_url: str | None = None
    include_return_message_types: list[MessageType] | None = None
    max_steps: int | None = Field(default=None, ge=1, le=1000)
    when_busy: WhenBusy = WhenBusy.ENQUEUE
    catch_up: CatchUp = CatchUp.ONCE


class ScheduleCreated(Wire):
    """Answers a creation."""

    id: str
    next_scheduled_at: Timestamp | None = None


class ScheduleDeleted(Wire):
    """Answers a deletion."""

    success: Literal[True] = True


class ScheduledMessages(Wire):
    """What is sent at each time."""

    messages: list[MessageInput]
    callback_url: str | None = None
    include_return_message_types: list[MessageType] | None = None
    max_steps: int | None = None


class Schedule(Wire):
    """A schedule. Without `next_scheduled_time` there is no next time."""

    id: str
    agent_id: str
    message: ScheduledMessages
    schedule: When
    next_scheduled_time: Timestamp | None = None
    when_busy: WhenBusy
    catch_up: CatchUp
    created_at: Timestamp


class ScheduleList(Wire):
    """One page of an agent's schedules."""

    has_next_page: bool
    scheduled_messages: list[Schedule]


class Outcome(StrEnum):
    """What came of a time: a run, nothing on purpose, or nothing because the run could not be accepted."""

    STARTED = "started"
    SKIPPED = "skipped"
    REFUSED = "refused"


class Occurrence(Wire):
    """A time that came. `missed` counts the times before it that nobody was there for.

    `run_status` is how far the run is; null where there was none, or it was deleted.
    """

    due_at: Timestamp
    handled_at: Timestamp
    outcome: Outcome
    run_id: str | None = None
    run_status: RunStatus | None = None
    missed: int = 0
    detail: str | None = None


class OccurrenceList(Wire):
    """One page of what a schedule did."""

    has_next_page: bool
    occurrences: list[Occurrence]
