"""Notices between replicas, by PostgreSQL's LISTEN and NOTIFY.

Notices are sent from the pool after what they tell of was committed, many in one statement and one statement at a time:
inside a transaction they would make commits wait for each other. Only a topic that some other process said it waits for
is sent at all. One connection of its own listens. What it hears is tested: a connection pooler in transaction mode
takes LISTEN and delivers nothing, and then everybody polls.
"""

import asyncio
import logging
from contextlib import suppress
from time import monotonic
from typing import Any
from uuid import uuid4

import asyncpg  # type: ignore[import-untyped]  # comes without types
import orjson
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from letta.errors import StoreUnavailable
from letta.store.access import Database
from letta.store.notices import Notices

log = logging.getLogger(__name__)

CHANNEL = "letta_notices"
_MOST_BYTES = 7_000  # PostgreSQL takes less than 8000.
_GATHER = 0.002
_PROBE_EVERY, _PROBE_PATIENCE = 15.0, 3.0
_RECONNECT = 1.0
_WANT_AGAIN = 10.0
_WANTED_FOR = 30.0
_send = text("SELECT pg_notify(:channel, :payload)")


class PostgresNotices(Notices):
    """Notices of all processes on one database. `listening` makes the connection that listens; `database` sends.

    Without `listening` nothing is heard, and everybody polls: behind a pooler with no way past it.
    """

    def __init__(self, database: Database, listening: AsyncEngine | None) -> None:
        super().__init__()
        self._database = database
        self._engine = listening
        self._me = uuid4().hex
        self._reach = False
        self._wanted_elsewhere: dict[str, float] = {}
        self._to_tell: dict[str, None] = {}
        self._to_want: dict[str, None] = {}
        self._something = asyncio.Event()
        self._lost = asyncio.Event()
        self._probed: dict[str, asyncio.Future[None]] = {}
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def reach(self) -> bool:
        return self._reach

    @property
    def alone(self) -> bool:
        return False

    def tell(self, topic: str, *, everybody: bool = False) -> None:
        super().tell(topic, everybody=everybody)
        if everybody or self._wanted_elsewhere.get(topic, 0.0) > monotonic():
            self._to_tell[topic] = None
            self._something.set()

    def _wanted(self, topic: str) -> None:
        self._to_want[topic] = None
        self._something.set()

    async def open(self) -> None:
        """Connect and begin to send. A database that cannot be listened to leaves `reach` False."""
        self._tasks = [
            asyncio.create_task(self._send_always(), name="notices out"),
            asyncio.create_task(self._want_again(), name="notices wanted"),
        ]
        if self._engine is None:
            return
        connected = asyncio.Event()
        self._tasks.append(asyncio.create_task(self._listen_always(self._engine, connected), name="notices in"))
        with suppress(TimeoutError):
            async with asyncio.timeout(_PROBE_PATIENCE):
                await connected.wait()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._engine is not None:
            await self._engine.dispose()

    # -- sending ------------------------------------------------------------------------------------------------------

    async def _send_always(self) -> None:
        while True:
            await self._something.wait()
            await asyncio.sleep(_GATHER)
            self._something.clear()
            told, wanted = list(self._to_tell), list(self._to_want)
            self._to_tell.clear()
            self._to_want.clear()
            for payload in _payloads(self._me, told, wanted):
                await self._notify(payload)

    async def _notify(self, payload: str) -> None:
        try:
            await self._database.read(_notify, payload)
        except (StoreUnavailable, DBAPIError) as error:
            # Notices may be lost: who waits for them looks by itself, too.
            log.warning("a notice could not be sent: %s", error)

    async def _want_again(self) -> None:
        """Say again what is waited for: a process that takes something over was not there the first time."""
        while True:
            await asyncio.sleep(_WANT_AGAIN)
            moment = monotonic()
            self._wanted_elsewhere = {topic: end for topic, end in self._wanted_elsewhere.items() if end > moment}
            if self._waiting:
                self._to_want.update(dict.fromkeys(self._waiting))
                self._something.set()

    # -- hearing ------------------------------------------------------------------------------------------------------

    async def _listen_always(self, engine: AsyncEngine, connected: asyncio.Event) -> None:
        while True:
            pause = _RECONNECT
            try:
                await self._listen(engine, connected)
            except TimeoutError:
                pause = _PROBE_EVERY
                if not connected.is_set():
                    log.warning(
                        "notices do not arrive (a connection pooler?): the database is polled, see docs/streaming.md"
                    )
            except (DBAPIError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError, StoreUnavailable) as error:
                log.warning("notices of other replicas are not heard until PostgreSQL answers again: %s", error)
            finally:
                self._reach = False
            connected.set()
            await asyncio.sleep(pause)

    async def _listen(self, engine: AsyncEngine, connected: asyncio.Event) -> None:
        """Hear notices until the connection is lost. Raises when it cannot be made, or hears nothing."""
        self._lost.clear()
        async with engine.connect() as connection:
            driver: Any = (await connection.get_raw_connection()).driver_connection
            driver.add_termination_listener(lambda _driver: self._lost.set())
            await driver.add_listener(CHANNEL, self._heard)
            while True:
                await self._probe()
                self._reach = True
                connected.set()
                with suppress(TimeoutError):
                    async with asyncio.timeout(_PROBE_EVERY):
                        await self._lost.wait()
                        return

    async def _probe(self) -> None:
        """Send a word to ourselves the way every notice goes. Raises TimeoutError when it does not arrive."""
        word = uuid4().hex
        self._probed[word] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(_PROBE_PATIENCE):
                await self._database.read(_notify, orjson.dumps({"probe": word}).decode())
                await self._probed[word]
        finally:
            del self._probed[word]

    def _heard(self, _driver: object, _pid: int, _channel: str, payload: str) -> None:
        said = orjson.loads(payload)
        if (probed := self._probed.get(said.get("probe", ""))) is not None and not probed.done():
            probed.set_result(None)
        if said.get("from") in (None, self._me):
            return
        for topic in said["told"]:
            super().tell(topic)
        until = monotonic() + _WANTED_FOR
        for topic in said["wanted"]:
            self._wanted_elsewhere[topic] = until
            for prefix, heard in self._askers:
                if topic.startswith(prefix):
                    heard(topic)


def _payloads(me: str, told: list[str], wanted: list[str]) -> list[str]:
    """As few messages as hold these topics."""
    made: list[str] = []
    parts: dict[str, list[str]] = {"told": [], "wanted": []}
    size = 0
    for kind, topics in (("told", told), ("wanted", wanted)):
        for topic in topics:
            if size + len(topic) + 3 > _MOST_BYTES:
                made.append(orjson.dumps({"from": me, **parts}).decode())
                parts, size = {"told": [], "wanted": []}, 0
            parts[kind].append(topic)
            size += len(topic) + 3
    if size:
        made.append(orjson.dumps({"from": me, **parts}).decode())
    return made


def _notify(connection: Connection, payload: str) -> None:
    connection.execute(_send, {"channel": CHANNEL, "payload": payload})
