"""The pieces of messages, kept as they are written, so that a stream by token can be read again or elsewhere.

Most runs need no record: whole messages are stored anyway, and their streams are made from them. A run that shows
pieces has a `Record`. Pieces wait in memory and are stored in the transaction that stores the message they became; in
between only while a reader in another process wants them. Knows events, not frames.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import orjson
from sqlalchemy import Connection

from letta.models.protocol import ReasoningDelta, TextDelta, ToolCallDelta
from letta.runtime.events import Committed, Delta
from letta.schemas.messages import Message
from letta.store import run_events
from letta.store.access import Database
from letta.store.run_events import Batch
from letta.store.runs import Work

_OF_MESSAGE, _TEXT, _REASONING, _CALL, _COMMITTED = "m", "t", "r", "c", "k"


class Record:
    """What one attempt of a run showed. One writer; everything happens in the event loop but `write`."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._pieces: list[Delta] = []
        self._frozen: list[Batch] = []
        self._next = 0
        self._lock = asyncio.Lock()

    def note(self, piece: Delta) -> None:
        """A piece that readers here see now."""
        self._pieces.append(piece)

    async def flush(self, database: Database) -> bool:
        """Store what is not stored yet, for readers elsewhere. Whether there was anything.

        Raises:
            letta.errors.StoreUnavailable: it is kept, and stored the next time.
        """
        async with self._lock:
            self._freeze()
            if not self._frozen:
                return False
            await database.write(self.write)
            self._frozen = []
            return True

    @asynccontextmanager
    async def committing(self, *, shown: bool = True) -> AsyncIterator[None]:
        """Around a transaction that calls `write`: nothing else is stored meanwhile, and then it counts as stored.

        `shown` says that readers are told of the messages that are committed.
        """
        async with self._lock:
            self._freeze()
            yield
            self._frozen = []
            self._next += shown

    def write(self, connection: Connection, committed: Sequence[Message] = (), streamed: str | None = None) -> None:
        """Store what was shown so far and then, if there are any, that these messages were committed.

        Runs in the transaction, which may be run again: what was stored already stays.
        """
        batches = list(self._frozen)
        if committed:  # one event, which `committing` counts
            marker = [[_COMMITTED, [message.id for message in committed], streamed]]
            batches.append(Batch(self._next, orjson.dumps(marker).decode()))
        run_events.add(connection, self._work.id, self._work.agent_id, self._work.attempt, batches)

    def _freeze(self) -> None:
        if self._pieces:
            self._frozen.append(Batch(self._next, encoded(self._pieces)))
            self._next += len(self._pieces)
            self._pieces = []


def encoded(pieces: Sequence[Delta]) -> str:
    """Pieces as JSON text: what they share is said once."""
    items: list[list[Any]] = []
    of: Delta | None = None
    for delta in pieces:
        if of is None or (delta.message_id, delta.held) != (of.message_id, of.held):
            of = delta
            moment = int(delta.date.timestamp() * 1_000_000)
            items.append([_OF_MESSAGE, delta.message_id, delta.step_id, moment, delta.style, sorted(delta.held)])
        items.append(_item(delta))
    return orjson.dumps(items).decode()


def _item(delta: Delta) -> list[Any]:
    match delta.piece:
        case TextDelta(text):
            return [_TEXT, text]
        case ReasoningDelta(text, signature):
            return [_REASONING, text, signature]
        case ToolCallDelta(index, call_id, name, arguments):
            return [_CALL, index, call_id, name, arguments]


def message_ids(data: str) -> list[str]:
    """The messages that stored events say were committed."""
    if f'["{_COMMITTED}"' not in data:
        return []
    return [message_id for item in orjson.loads(data) if item[0] == _COMMITTED for message_id in item[1]]


def decoded(data: str, messages: Mapping[str, Message]) -> list[Delta | Committed]:
    """Stored events as they were. `messages` are those they name, by id; one that is gone is left out."""
    events: list[Delta | Committed] = []
    head: tuple[Any, ...] = ()
    for kind, *rest in orjson.loads(data):
        if kind == _OF_MESSAGE:
            message_id, step_id, moment, style, held = rest
            head = (message_id, step_id, datetime.fromtimestamp(moment / 1_000_000, UTC), style, frozenset(held))
        elif kind == _COMMITTED:
            ids, streamed = rest
            events.append(Committed(tuple(messages[one] for one in ids if one in messages), streamed))
        else:
            piece = _PIECES[kind](*rest)
            message_id, step_id, date, style, names = head
            events.append(Delta(message_id, step_id, date, style, piece, names))
    return events


_PIECES: dict[str, Any] = {_TEXT: TextDelta, _REASONING: ReasoningDelta, _CALL: ToolCallDelta}
