"""The server's side of a sandbox: start zygotes, hand them calls, collect what comes of each within its limits.

Knows processes and descriptors, and nothing of tools. Standard library only.
"""

import asyncio
import contextlib
import json
import logging
import os
import shutil
import signal
import socket
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from letta.tools.sandbox.isolation import Isolation, Limits, World
from letta.tools.sandbox.pipes import Reader, weight
from letta.tools.sandbox.process import Ended, Zygote

log = logging.getLogger(__name__)

Door = Callable[[socket.socket], Awaitable[None]]
"""Serves a call's requests to the API on a connected socket until that is closed."""

_AT_ONCE = 32
_ZYGOTES = 8
_WATCH_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Job:
    """One call. `request` is what `letta.tools.sandbox.guest` takes; `timeout` is in seconds of the clock on the wall.

    `program` is run instead of Python when it is given: it finds the request on descriptor 3 and answers on 4.
    `requirements` are packages, as pip takes them, for sandboxes elsewhere, which see no folders of this machine.
    """

    world: World
    request: dict[str, Any]
    timeout: float
    program: tuple[str, ...] | None = None
    door: Door | None = None
    requirements: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a call. `answer` is what the tool's process wrote, or None; nothing in it is to be trusted.

    `signal` is what ended the process, 0 when it ended by itself, with `code`. `fault` says why it never began.
    """

    answer: bytes | None
    stdout: str
    stderr: str
    signal: int
    code: int
    timed_out: bool = False
    disk_full: bool = False
    fault: str | None = None


class Sandbox:
    """Runs calls in one kind of isolation. Use it in one event loop; `hidden` are folders no tool may ever see."""

    def __init__(self, kind: Isolation, limits: Limits, hidden: Sequence[Path] = ()) -> None:
        self.kind = kind
        self.limits = limits
        self._hidden = tuple(path.resolve() for path in hidden)
        self._zygotes: dict[World, Zygote] = {}
        self._starting = asyncio.Lock()
        self._free = list(range(_AT_ONCE - 1, -1, -1))
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def run(self, job: Job) -> Outcome:
        """Run a call; when this wait is cancelled, the call is ended.

        Raises:
            SandboxFault: no zygote can be started.
        """
        async with self._turns:
            slot = self._free.pop()
            try:
                zygote = await self._zygote(job.world)
                return await self._call(zygote, job, slot)
            finally:
                self._free.append(slot)

    async def aclose(self) -> None:
        """End everything that runs."""
        for zygote in self._zygotes.values():
            await zygote.close()
        self._zygotes.clear()

    async def _zygote(self, world: World) -> Zygote:
        async with self._starting:
            known = self._zygotes.pop(world, None)
            if known is None or known.dead:
                if known is not None:
                    await known.close()
                known = await Zygote.start(self.kind, world, self.limits, self._hidden)
            # Moved to the end: the first in the dictionary is the one that was unused for longest.
            self._zygotes[world] = known
            for other, idle in [(other, zygote) for other, zygote in self._zygotes.items() if not zygote.busy]:
                if len(self._zygotes) > _ZYGOTES and idle is not known:
                    await self._zygotes.pop(other).close()
            return known

    async def _call(self, zygote: Zygote, job: Job, slot: int) -> Outcome:
        limits = self.limits
        with contextlib.ExitStack() as stack:
            folder = "/tmp"  # noqa: S108 (the sandbox's own)
            if self.kind != "bubblewrap":
                folder = tempfile.mkdtemp(prefix="letta-tool-")
                stack.callback(shutil.rmtree, folder, ignore_errors=True)
            request = {**job.request, "environment": {**job.request["environment"], "HOME": folder, "TMPDIR": folder}}
            readers = [
                Reader(stack, limits.output),
                Reader(stack, limits.output),
                Reader(stack, limits.answer + 1),
            ]
            ours, theirs = _pair(stack) if job.door else (None, None)
            payload = os.memfd_create("payload")
            stack.callback(os.close, payload)
            _write_all(payload, json.dumps(request).encode())
            out, err, answer = (reader.give() for reader in readers)
            order = {
                "slot": slot,
                "folder": folder,
                "program": list(job.program) if job.program else None,
                "cpu": max(1, round(job.timeout)),
                "door": theirs is not None,
            }
            given = [out, err, payload, answer] + ([theirs.fileno()] if theirs else [])
            try:
                ended = zygote.run(order, given)
            finally:
                for reader in readers:
                    reader.given()
                if theirs:
                    theirs.close()
            async with _served(job.door, ours):
                verdict = await self._wait(zygote, ended, job.timeout, None if folder == "/tmp" else folder)  # noqa: S108
            await asyncio.gather(*(reader.rest() for reader in readers))
            stdout, stderr = (bytes(reader.data).decode("utf-8", "replace") for reader in readers[:2])
            found = bytes(readers[2].data)
            report = verdict.report
            return Outcome(
                answer=found or None,
                stdout=stdout + readers[0].note,
                stderr=stderr + readers[1].note,
                signal=report.get("signal", signal.SIGKILL),
                code=report.get("code", 0),
                timed_out=verdict.timed_out,
                disk_full=verdict.disk_full,
                fault=_fault(report, found, stderr),
            )

    async def _wait(self, zygote: Zygote, ended: Ended, seconds: float, folder: str | None) -> "_Verdict":
        """Wait for the end of a call, and bring it about when it takes too long or fills the disk."""
        verdict = _Verdict()
        watching = asyncio.create_task(self._watch(folder)) if folder else None
        try:
            waiting: set[asyncio.Future[Any]] = {ended.future, watching} if watching else {ended.future}
            await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            verdict.disk_full = watching is not None and watching.done() and not ended.future.done()
            verdict.timed_out = not ended.future.done() and not verdict.disk_full
        finally:
            if watching:
                watching.cancel()
            if not ended.future.done():
                await asyncio.shield(zygote.kill(ended))
        verdict.report = ended.future.result()
        return verdict

    async def _watch(self, folder: str) -> None:
        """Return when a folder has grown over the limit. In bubblewrap the kernel itself sees to that."""
        full = False
        while not full:
            await asyncio.sleep(_WATCH_SECONDS)
            full = await asyncio.to_thread(weight, folder) > self.limits.scratch


@dataclass(slots=True)
class _Verdict:
    report: dict[str, Any] = field(default_factory=dict)
    timed_out: bool = False
    disk_full: bool = False


@contextlib.asynccontextmanager
async def _served(door: Door | None, connection: socket.socket | None) -> AsyncIterator[None]:
    if door is None or connection is None:
        yield
        return
    serving = asyncio.ensure_future(door(connection))
    try:
        yield
    finally:
        serving.cancel()
        [result] = await asyncio.gather(serving, return_exceptions=True)
        if isinstance(result, Exception):
            log.warning("the API for a tool failed: %r", result)


def _pair(stack: contextlib.ExitStack) -> tuple[socket.socket, socket.socket]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    stack.callback(ours.close)
    stack.callback(theirs.close)
    return ours, theirs


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _fault(report: dict[str, Any], answer: bytes, stderr: str) -> str | None:
    """Why the call never began: the child says so where the tool's errors would be, with a code of its own."""
    if "why" in report:
        return str(report["why"])
    last = stderr.strip().rpartition("\n")[2]
    if report.get("code") == 70 and not answer and last.startswith("sandbox: "):
        return last.removeprefix("sandbox: ")
    return None
