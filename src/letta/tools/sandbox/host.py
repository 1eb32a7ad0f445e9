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
import subprocess
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from letta.tools.sandbox import isolation
from letta.tools.sandbox.isolation import Isolation, Limits, World

log = logging.getLogger(__name__)

Door = Callable[[socket.socket], Awaitable[None]]
"""Serves a call's requests to the API on a connected socket until that is closed."""

_AT_ONCE = 32
_ZYGOTES = 8
_START_SECONDS = 30.0
_KILL_SECONDS = 5.0
_WATCH_SECONDS = 0.1
_CHUNK = 1 << 16


class SandboxFault(Exception):
    """The sandbox itself does not work; no code of a tool was run. The message says why."""


@dataclass(frozen=True, slots=True)
class Job:
    """One call. `request` is what `letta.tools.sandbox.guest` takes; `timeout` is in seconds of the clock on the wall.

    `program` is run instead of Python when it is given: it finds the request on descriptor 3 and answers on 4.
    """

    world: World
    request: dict[str, Any]
    timeout: float
    program: tuple[str, ...] | None = None
    door: Door | None = None


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
        self._zygotes: dict[World, _Zygote] = {}
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

    async def _zygote(self, world: World) -> "_Zygote":
        async with self._starting:
            known = self._zygotes.pop(world, None)
            if known is None or known.dead:
                if known is not None:
                    await known.close()
                known = await _Zygote.start(self.kind, world, self.limits, self._hidden)
            # Moved to the end: the first in the dictionary is the one that was unused for longest.
            self._zygotes[world] = known
            for other, idle in [(other, zygote) for other, zygote in self._zygotes.items() if not zygote.busy]:
                if len(self._zygotes) > _ZYGOTES and idle is not known:
                    await self._zygotes.pop(other).close()
            return known

    async def _call(self, zygote: "_Zygote", job: Job, slot: int) -> Outcome:
        limits = self.limits
        with contextlib.ExitStack() as stack:
            folder = "/tmp"  # noqa: S108 (the sandbox's own)
            if self.kind != "bubblewrap":
                folder = tempfile.mkdtemp(prefix="letta-tool-")
                stack.callback(shutil.rmtree, folder, ignore_errors=True)
            request = {**job.request, "environment": {**job.request["environment"], "HOME": folder, "TMPDIR": folder}}
            readers = [
                _Reader(stack, limits.output),
                _Reader(stack, limits.output),
                _Reader(stack, limits.answer + _CHUNK),
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

    async def _wait(self, zygote: "_Zygote", ended: "_Ended", timeout: float, folder: str | None) -> "_Verdict":
        """Wait for the end of a call, and bring it about when it takes too long or fills the disk."""
        verdict = _Verdict()
        watching = asyncio.create_task(self._watch(folder)) if folder else None
        try:
            waiting = {ended.future, watching} if watching else {ended.future}
            await asyncio.wait(waiting, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
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
        while await asyncio.to_thread(_weight, folder) <= self.limits.scratch:
            await asyncio.sleep(_WATCH_SECONDS)


@dataclass(slots=True)
class _Verdict:
    report: dict[str, Any] = field(default_factory=dict)
    timed_out: bool = False
    disk_full: bool = False


@dataclass(frozen=True, slots=True)
class _Ended:
    """A call that runs: its number, and the report of its end when there is one."""

    number: int
    future: asyncio.Future[dict[str, Any]]


class _Zygote:
    """A zygote process and the calls it has running."""

    def __init__(self, process: subprocess.Popen[bytes], control: socket.socket, world: World) -> None:
        self._process = process
        self._control = control
        self._world = world
        self._calls: dict[int, _Ended] = {}
        self._count = 0
        self._gone = False

    @classmethod
    async def start(cls, kind: Isolation, world: World, limits: Limits, hidden: Sequence[Path]) -> "_Zygote":
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        complaints = tempfile.TemporaryFile()
        try:
            command = isolation.command(kind, world, limits, theirs.fileno(), hidden)
            process = await asyncio.to_thread(_spawn, command, theirs.fileno(), complaints)
        except (OSError, ValueError) as error:
            ours.close()
            complaints.close()
            raise SandboxFault(f"the sandbox ({kind}) does not start: {error}") from error
        finally:
            theirs.close()
        ours.setblocking(False)
        loop = asyncio.get_running_loop()
        try:
            first = await asyncio.wait_for(loop.sock_recv(ours, 1 << 16), _START_SECONDS)
        except (TimeoutError, OSError):
            first = b""
        complaints.seek(0)
        said = complaints.read().decode("utf-8", "replace").strip()
        complaints.close()
        zygote = cls(process, ours, world)
        if not first:
            await zygote.close()
            raise SandboxFault(f"the sandbox ({kind}) does not start: {said[-500:] or 'no answer'}")
        loop.add_reader(ours, zygote._hear)
        return zygote

    @property
    def dead(self) -> bool:
        return self._gone

    @property
    def busy(self) -> bool:
        return bool(self._calls)

    def run(self, order: dict[str, Any], descriptors: Sequence[int]) -> _Ended:
        self._count += 1
        ended = _Ended(self._count, asyncio.get_running_loop().create_future())
        self._calls[ended.number] = ended
        try:
            socket.send_fds(self._control, [json.dumps({"run": ended.number, **order}).encode()], descriptors)
        except OSError as error:
            del self._calls[ended.number]
            self._gone = True
            raise SandboxFault(
                f"the sandbox takes no calls any more ({error}); the next call starts it anew"
            ) from error
        return ended

    async def kill(self, ended: _Ended) -> None:
        """End a call; a zygote that does not do that in time is ended with all its calls."""
        with contextlib.suppress(OSError):
            self._control.send(json.dumps({"kill": ended.number}).encode())
        await asyncio.wait({ended.future}, timeout=_KILL_SECONDS)
        if not ended.future.done():
            log.warning("a sandbox process did not end a call and was ended itself")
            self._lost()
            self._process.kill()

    async def close(self) -> None:
        self._lost()
        self._process.kill()
        await asyncio.to_thread(self._process.wait)
        self._control.close()

    def _hear(self) -> None:
        while True:
            try:
                data = self._control.recv(1 << 16)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self._lost()
                return
            report = json.loads(data)
            ended = self._calls.pop(report.get("ended"), None)
            if ended is not None and not ended.future.done():
                ended.future.set_result(report)

    def _lost(self) -> None:
        """The process is gone or going: no call of it will be heard of again."""
        if not self._gone or self._calls:
            self._gone = True
            if self._control.fileno() >= 0:
                asyncio.get_running_loop().remove_reader(self._control)
            for ended in self._calls.values():
                if not ended.future.done():
                    ended.future.set_result({"signal": int(signal.SIGKILL), "code": 0})
            self._calls.clear()


class _Reader:
    """Reads a pipe to its end, keeps the beginning, and never lets the writer wait for long."""

    def __init__(self, stack: contextlib.ExitStack, limit: int) -> None:
        self.data = bytearray()
        self._limit = limit
        self._cut = 0
        self._from, self._to = os.pipe()
        os.set_blocking(self._from, False)
        self._loop = asyncio.get_running_loop()
        self._end: asyncio.Future[None] = self._loop.create_future()
        self._loop.add_reader(self._from, self._read)
        stack.callback(self._close)

    def give(self) -> int:
        """The end to write to."""
        return self._to

    def given(self) -> None:
        """The other process has its own copy of the end to write to."""
        os.close(self._to)
        self._to = -1

    @property
    def note(self) -> str:
        return f"\n... [{self._cut:,} bytes more were printed and dropped]" if self._cut else ""

    async def rest(self) -> None:
        """Wait for the end, which has come when the process is gone, and what it left behind is, too."""
        await asyncio.wait({self._end}, timeout=_KILL_SECONDS)

    def _read(self) -> None:
        try:
            piece = os.read(self._from, _CHUNK)
        except BlockingIOError:
            return
        room = self._limit - len(self.data)
        self.data += piece[:room]
        self._cut += max(0, len(piece) - room)
        if not piece and not self._end.done():
            self._loop.remove_reader(self._from)
            self._end.set_result(None)

    def _close(self) -> None:
        self._loop.remove_reader(self._from)
        os.close(self._from)
        if self._to >= 0:
            os.close(self._to)


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


def _spawn(command: Sequence[str], control: int, complaints: Any) -> subprocess.Popen[bytes]:
    # The kernel looks for somebody to end when memory runs out: a tool, before anything else.
    first = ["/bin/sh", "-c", 'echo 1000 > /proc/self/oom_score_adj 2>/dev/null; exec "$@"', "sh", *command]
    return subprocess.Popen(
        first,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=complaints,
        env={},
        cwd="/",
        pass_fds=(control,),
        start_new_session=True,
    )


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _weight(folder: str) -> int:
    """Bytes on the disk below a folder; what disappears meanwhile counts for nothing."""
    total, left = 0, [folder]
    while left:
        with contextlib.suppress(OSError), os.scandir(left.pop()) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    found = entry.stat(follow_symlinks=False)
                    total += max(found.st_blocks * 512, 512)
                    if entry.is_dir(follow_symlinks=False):
                        left.append(entry.path)
    return total


def _fault(report: dict[str, Any], answer: bytes, stderr: str) -> str | None:
    """Why the call never began: the child says so where the tool's errors would be, with a code of its own."""
    if "why" in report:
        return str(report["why"])
    last = stderr.strip().rpartition("\n")[2]
    if report.get("code") == 70 and not answer and last.startswith("sandbox: "):
        return last.removeprefix("sandbox: ")
    return None
