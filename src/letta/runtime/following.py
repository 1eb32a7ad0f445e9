"""Everything that happens in a run, for readers anywhere, from its beginning and then as it happens.

A run of this process is read from its events in memory. Any other, ended or worked on by another process, is read from
the store: whole messages from `messages`, pieces from `run_events`, the end from the run's row. A reader goes from one
to the other when a run moves, and sees every committed message once. Knows events, not frames.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import timedelta
from typing import NamedTuple

from sqlalchemy import Connection

from letta.errors import NotFound, StoreUnavailable
from letta.runtime import recording
from letta.runtime.closing import LATE
from letta.runtime.events import Committed, Event, Failure, Finished, RunUsage, stored_failure
from letta.runtime.records import usage_from_json
from letta.runtime.runner import Runner
from letta.runtime.running import INTERRUPTED, PROGRESS, STOPPING, Running
from letta.schemas.messages import Message, ToolCallPart
from letta.schemas.runs import StopReason
from letta.store import messages, run_events
from letta.store.access import Database
from letta.store.notices import Notices, rung
from letta.store.query import now
from letta.store.run_events import Progress, State, Stored

log = logging.getLogger(__name__)

_MESSAGES, _BATCHES, _EVENTS = 200, 32, 256
"""How much a reader takes at once: rows from the store, and events of one part. It holds no more than that."""
_LOOK_HEARD, _LOOK_UNHEARD = 5.0, 0.25
"""Seconds between looks at runs that are followed: a safety net where notices arrive, else how news get here."""
_PATIENCE, _AGAIN = 60.0, 1.0
"""Seconds a reader waits for a database that does not answer, and between asking it again."""
_LEFT = 15.0
"""Seconds a reader waits for a run that could not be stored: until it was tried once more, when its lease was over."""
_PURGE_EVERY, _PURGE = 600.0, 2_000


class Part(NamedTuple):
    """Some events of an attempt of a run, in order; none after a while of silence."""

    attempt: int
    events: list[Event]


@dataclass(slots=True)
class _Place:
    """How far a reader is: the next event of an attempt where pieces are read, the last message where they are not.

    `held` are pieces of an attempt that was given up: shown only if the message they belong to was committed. `left`
    says why the run was given up here, `left_at` when; None once something of it was stored.
    """

    run_id: str
    tokens: bool
    attempt: int = 1
    seq: int = 0
    position: int = -1
    held: list[Event] = field(default_factory=list)
    left: StoreUnavailable | None = None
    left_at: float = 0.0

    def note_left(self, why: StoreUnavailable | None, moment: float) -> None:
        if why is not None and self.left is None:
            self.left, self.left_at = why, moment

    def patience(self, moment: float) -> float | None:
        """Seconds for which the run may still be taken up again; None where it was not given up."""
        return None if self.left is None else max(0.0, self.left_at + _LEFT - moment)


class _Look(NamedTuple):
    """What the store knows behind a place. `whole`: there is no more of it at this moment."""

    state: State
    batches: list[Stored]
    messages: list[Message]
    whole: bool


class Following:
    """Reads runs for those who follow them. `retention` is in seconds, counted from a run's end."""

    def __init__(self, database: Database, runner: Runner, notices: Notices, retention: float) -> None:
        self._database = database
        self._runner = runner
        self._notices = notices
        self._retention = retention
        self._followed: Counter[str] = Counter()
        self._progress: dict[str, Progress] = {}
        self._stopping = False
        self._tasks: list[asyncio.Task[None]] = []
        notices.listen(STOPPING, self._stop)

    def start(self) -> None:
        """Begin to look after runs that are followed, and to forget what is too old."""
        self._tasks = [
            asyncio.create_task(self._look_around(), name="followed runs"),
            asyncio.create_task(self._forget(), name="old run events"),
        ]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def is_forgotten(self, state: State) -> bool:
        """Whether a run ended so long ago that it cannot be followed any more."""
        return state.completed_at is not None and state.completed_at < now() - timedelta(seconds=self._retention)

    async def parts(
        self,
        run_id: str,
        *,
        tokens: bool,
        idle: float | None,
        running: Running | None = None,
        left: StoreUnavailable | None = None,
    ) -> AsyncGenerator[Part]:
        """Everything that happens in a run, until its end; a part with nothing after `idle` seconds of silence.

        `tokens` says that pieces are read, too: it must be how the run was asked for. `running` is the run, for who has
        just started it; `left` is why it was given up, for who has read it until then. The end is not `stored` if it
        could not be waited for.
        """
        place, clock = _Place(run_id, tokens), asyncio.get_running_loop()
        place.note_left(left, clock.time())
        running = running or self._runner.get(run_id)
        while True:
            source = self._stored(place, idle) if running is None else self._live(running, place, idle)
            async with aclosing(source) as parts:
                async for part in parts:
                    yield part
                    if part.events and isinstance(part.events[-1], Finished):
                        return
                    if any(isinstance(event, Committed) for event in part.events):
                        place.left = None
            if running is not None:
                place.note_left(running.left, clock.time())
            running = self._runner.get(place.run_id)

    # -- in this process ----------------------------------------------------------------------------------------------

    async def _live(self, running: Running, place: _Place, idle: float | None) -> AsyncGenerator[Part]:
        """Ends without an end if the run goes on elsewhere."""
        attempt, skipped = 0, 0
        async for batch in running.events.batches(idle=idle):
            if not batch:
                yield Part(place.attempt, [])
                continue
            if not attempt:
                # Known only now: a run that waits has not been claimed yet.
                attempt = max(running.work.attempt, 1)
                if attempt > 1:
                    async for part in self._earlier(place, attempt):
                        yield part
                skipped = place.seq if place.attempt == attempt else 0
                place.attempt, place.seq = attempt, 0
            # That a run goes on elsewhere is no event of it: it is neither shown nor counted.
            told = [event for event in batch if not _is_interruption(event)]
            place.seq += len(told)
            new = told[skipped:] if place.tokens else [one for event in told for one in _unseen(event, place)]
            skipped = max(skipped - len(told), 0)
            if new:
                yield Part(attempt, new)

    async def _earlier(self, place: _Place, attempt: int) -> AsyncIterator[Part]:
        """What attempts before this one left in the store."""
        clock = asyncio.get_running_loop()
        patience = clock.time() + _PATIENCE
        while clock.time() < patience:
            try:
                look = await self._database.read(_look, place, attempt)
            except StoreUnavailable:
                await asyncio.sleep(_AGAIN)
                continue
            except NotFound:
                break
            patience = clock.time() + _PATIENCE
            for part in _told(look, place, attempt):
                yield part
            if look.whole:
                break
        place.held.clear()

    # -- from the store -----------------------------------------------------------------------------------------------

    async def _stored(self, place: _Place, idle: float | None) -> AsyncGenerator[Part]:
        """Ends without an end when the run is worked on in this process."""
        run_id, clock = place.run_id, asyncio.get_running_loop()
        topic, patience = f"{PROGRESS}{run_id}", clock.time() + _PATIENCE
        self._followed[run_id] += 1
        try:
            with self._notices.watch(topic) as bell:
                while self._runner.get(run_id) is None:
                    bell.clear()
                    try:
                        look = await self._database.read(_look, place)
                    except (StoreUnavailable, NotFound) as error:
                        if isinstance(error, NotFound) or clock.time() > patience or self._stopping:
                            yield Part(place.attempt, [_interrupted(error)])
                            return
                        await rung(bell, _AGAIN)
                        continue
                    patience = clock.time() + _PATIENCE
                    if (speaker := look.state.answered_by) is not None:
                        # Its answer is what another run says from some position on.
                        place.run_id, place.tokens = speaker, False
                        place.position = (look.state.answered_from or 0) - 1
                        return
                    for part in _told(look, place, look.state.attempt):
                        yield part
                    if look.whole and look.state.ended:
                        yield Part(max(look.state.attempt, 1), [_end(look.state)])
                        return
                    if self._stopping:
                        yield Part(place.attempt, [INTERRUPTED])
                        return
                    if look.whole and place.left is not None and not place.patience(clock.time()):
                        yield Part(place.attempt, [_unstored(place.run_id, place.left)])
                        return
                    while look.whole and not await rung(bell, _sooner(idle, place.patience(clock.time()))):
                        if place.patience(clock.time()) == 0:
                            break
                        yield Part(place.attempt, [])
        finally:
            self._followed[run_id] -= 1
            if not self._followed[run_id]:
                del self._followed[run_id]
                self._progress.pop(run_id, None)

    def _stop(self, _topic: str) -> None:
        self._stopping = True
        for run_id in self._followed:
            self._notices.tell(f"{PROGRESS}{run_id}")

    async def _look_around(self) -> None:
        """Wake up the readers of runs that went on, if no notice did."""
        while True:
            await asyncio.sleep(_LOOK_HEARD if self._notices.reach else _LOOK_UNHEARD)
            run_ids = list(self._followed)
            if not run_ids:
                continue
            try:
                found = await self._database.read(run_events.progress, run_ids)
            except StoreUnavailable:
                continue
            except Exception:
                # Whatever it was, readers that nobody wakes would wait for ever.
                log.exception("runs that are followed are looked at later")
                continue
            for run_id in run_ids:
                if (seen := found.get(run_id)) is None or seen != self._progress.get(run_id):
                    self._notices.tell(f"{PROGRESS}{run_id}")
            self._progress = {run_id: seen for run_id, seen in found.items() if run_id in self._followed}

    async def _forget(self) -> None:
        """Delete the pieces of runs that ended too long ago."""
        while True:
            await asyncio.sleep(_PURGE_EVERY)
            try:
                before = now() - timedelta(seconds=self._retention)
                while await self._database.write(run_events.purge, before, _PURGE) == _PURGE:
                    log.debug("old run events were deleted, and there are more")
            except StoreUnavailable:
                log.debug("old run events are deleted later")


def _look(connection: Connection, place: _Place, before: int | None = None) -> _Look:
    """What comes next; of pieces only those of attempts `before` this one."""
    # The row first: what was stored before the row said so is then seen, too.
    state = run_events.state(connection, place.run_id)
    if not place.tokens:
        found = messages.of_run(connection, place.run_id, place.position, _MESSAGES)
        return _Look(state, [], found, len(found) < _MESSAGES)
    batches = run_events.after(connection, place.run_id, place.attempt, place.seq, _BATCHES, before)
    named = [message_id for batch in batches for message_id in recording.message_ids(batch.data)]
    found = list(messages.named(connection, named).values()) if named else []
    return _Look(state, batches, found, len(batches) < _BATCHES)


def _told(look: _Look, place: _Place, attempt: int) -> list[Part]:
    """What a look found as events, and the place behind them. Earlier attempts than `attempt` were given up."""
    if not place.tokens:
        return _messages_told(look, place)
    parts: list[Part] = []
    known = {message.id: message for message in look.messages}
    latest = max([attempt, *(batch.attempt for batch in look.batches)])
    for batch in look.batches:
        if batch.attempt > place.attempt:
            place.attempt, place.seq = batch.attempt, 0
            place.held.clear()
        events: list[Event] = list(recording.decoded(batch.data, known))
        events = events[place.seq - batch.seq :]
        place.seq += len(events)
        if batch.attempt < latest:
            events = _kept(place, events)
        parts += [Part(batch.attempt, events[n : n + _EVENTS]) for n in range(0, len(events), _EVENTS)]
    return parts


def _kept(place: _Place, events: list[Event]) -> list[Event]:
    """Of an attempt that was given up: everything up to the last message that was committed."""
    place.held += events
    last = max((number for number, event in enumerate(place.held) if isinstance(event, Committed)), default=-1)
    kept, place.held = place.held[: last + 1], place.held[last + 1 :]
    return kept


def _messages_told(look: _Look, place: _Place) -> list[Part]:
    found = [message for message in look.messages if not (message.data or {}).get(LATE)]
    if look.state.stop_reason == StopReason.REQUIRES_APPROVAL:
        # Calls that were closed later were answered after the run had ended.
        asked = next((number for number, message in enumerate(found) if _asks(message)), len(found))
        found = found[: asked + 1]
    if look.messages:
        place.position = look.messages[-1].position
    return [Part(max(look.state.attempt, 1), [Committed(tuple(found))])] if found else []


def _asks(message: Message) -> bool:
    return any(isinstance(part, ToolCallPart) and part.pending for part in message.parts)


def _unseen(event: Event, place: _Place) -> list[Event]:
    """An event without the messages that were read from the store, if anything is left of it."""
    if not isinstance(event, Committed):
        return [event]
    fresh = tuple(message for message in event.messages if message.position > place.position)
    place.position = max([place.position, *(message.position for message in fresh)])
    if len(fresh) == len(event.messages):
        return [event]
    return [Committed(fresh, event.streamed)] if fresh else []


def _is_interruption(event: Event) -> bool:
    return isinstance(event, Finished) and not event.stored


def _end(state: State) -> Finished:
    """The end of a run as its row has it."""
    stop = StopReason(state.stop_reason) if state.stop_reason else StopReason.ERROR
    error = state.metadata.get("error")
    return Finished(stop, usage_from_json(state.usage), None if error is None else stored_failure(error))


def _sooner(idle: float | None, patience: float | None) -> float | None:
    return min((seconds for seconds in (idle, patience) if seconds is not None), default=None)


def _unstored(run_id: str, why: StoreUnavailable) -> Finished:
    """The end of waiting for a run that could not be stored."""
    text = f"run {run_id} could not be stored and goes on by itself when it can be: {type(why)().message}"
    return Finished(StopReason.ERROR, RunUsage(), Failure("stream_incomplete", text, 503), stored=False)


def _interrupted(error: NotFound | StoreUnavailable) -> Finished:
    text = "The run was deleted" if isinstance(error, NotFound) else error.message
    return Finished(StopReason.ERROR, RunUsage(), Failure("stream_incomplete", text, 503), stored=False)
