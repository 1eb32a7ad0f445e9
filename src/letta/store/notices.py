"""Notices: a word from whoever changed something to whoever waits for it, in this process or in another one.

A notice is a topic (`run:run-...`, `cancel:run-...`, `freed:conv-...`, `providers`) and nothing else: who hears it
reads the database. Notices may be lost, so everybody who waits also looks now and then by itself. On SQLite there is
one process and this class is all; `letta.store.postgres_notices` sends them between replicas. Knows no runs.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Heard = Callable[[str], None]
"""Called with a topic, in the event loop. Must return at once and not raise."""


class Notices:
    """Topics, those who wait for them here, and those who always listen. Used from one event loop."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self._listeners: list[tuple[str, Heard]] = []
        self._askers: list[tuple[str, Heard]] = []

    @property
    def reach(self) -> bool:
        """Whether a notice reaches every process that uses the database: if not, others must be polled."""
        return True

    @property
    def alone(self) -> bool:
        """Whether no other process can use the database."""
        return True

    def listen(self, prefix: str, heard: Heard) -> None:
        """Call `heard` with every topic that begins with `prefix`, said here or elsewhere."""
        self._listeners.append((prefix, heard))

    def when_wanted(self, prefix: str, heard: Heard) -> None:
        """Call `heard` when another process begins to wait for a topic with this prefix, and while it waits.

        Who can say something about the topic says it then, so that whatever happened just before is not missed.
        """
        self._askers.append((prefix, heard))

    def tell(self, topic: str, *, everybody: bool = False) -> None:
        """Wake up who waits for a topic. Other processes hear it if they wait for it, or `everybody` is to hear it."""
        for bell in self._waiting.get(topic, ()):
            bell.set()
        for prefix, heard in self._listeners:
            if topic.startswith(prefix):
                heard(topic)

    @contextmanager
    def watch(self, topic: str) -> Iterator[asyncio.Event]:
        """An event that is set whenever the topic is said. Clear it, look, wait for it: so nothing is missed."""
        bell, waiting = asyncio.Event(), self._waiting.get(topic)
        if waiting is None:
            waiting = self._waiting[topic] = set()
            self._wanted(topic)
        waiting.add(bell)
        try:
            yield bell
        finally:
            waiting.discard(bell)
            if not waiting and self._waiting.get(topic) is waiting:
                del self._waiting[topic]

    def _wanted(self, topic: str) -> None:
        """Somebody here began to wait for a topic."""

    async def open(self) -> None:
        """Begin to hear others."""

    async def close(self) -> None:
        """Stop."""


async def rung(bell: asyncio.Event, seconds: float | None) -> bool:
    """Wait for an event of `Notices.watch`, at most so long. Whether it was set."""
    try:
        async with asyncio.timeout(seconds):
            await bell.wait()
    except TimeoutError:
        return False
    return True
