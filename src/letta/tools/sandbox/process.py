"""A zygote from the server's side: its process, the orders it is sent, and the calls it reports the end of."""

import asyncio
import contextlib
import json
import logging
import signal
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from letta.tools.sandbox import isolation
from letta.tools.sandbox.isolation import Isolation, Limits, World

log = logging.getLogger(__name__)

_START_SECONDS = 30.0
_KILL_SECONDS = 5.0
_MESSAGE = 1 << 16


class SandboxFault(Exception):
    """The sandbox itself does not work; no code of a tool was run. The message says why."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A call that runs: its number, and the report of its end when there is one."""

    number: int
    future: asyncio.Future[dict[str, Any]]


class Zygote:
    """A zygote process and the calls it has running."""

    def __init__(self, process: subprocess.Popen[bytes], control: socket.socket, world: World) -> None:
        self._process = process
        self._control = control
        self._world = world
        self._calls: dict[int, Ended] = {}
        self._count = 0
        self._gone = False

    @classmethod
    async def start(cls, kind: Isolation, world: World, limits: Limits, hidden: Sequence[Path]) -> "Zygote":
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        complaints = tempfile.TemporaryFile()  # noqa: SIM115 (closed as soon as the zygote has answered)
        try:
            command = isolation.command(kind, world, limits, theirs.fileno(), hidden)
            process = await _spawned(command, theirs.fileno(), complaints)
        except (OSError, ValueError) as error:
            ours.close()
            complaints.close()
            raise SandboxFault(f"the sandbox ({kind}) does not start: {error}") from error
        finally:
            theirs.close()
        ours.setblocking(False)
        loop = asyncio.get_running_loop()
        try:
            first = await asyncio.wait_for(loop.sock_recv(ours, _MESSAGE), _START_SECONDS)
        except (TimeoutError, OSError):
            first = b""
        except asyncio.CancelledError:
            process.kill()
            process.wait()
            ours.close()
            complaints.close()
            raise
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

    def run(self, order: dict[str, Any], descriptors: Sequence[int]) -> Ended:
        self._count += 1
        ended = Ended(self._count, asyncio.get_running_loop().create_future())
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

    async def kill(self, ended: Ended) -> None:
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
                data = self._control.recv(_MESSAGE)
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


async def _spawned(command: Sequence[str], control: int, complaints: Any) -> subprocess.Popen[bytes]:
    """Start a process, and end it again when nobody waits for it any more."""
    starting = asyncio.create_task(asyncio.to_thread(_spawn, command, control, complaints))
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        process = await starting
        process.kill()
        process.wait()
        raise


def _spawn(command: Sequence[str], control: int, complaints: Any) -> subprocess.Popen[bytes]:
    # The kernel looks for somebody to end when memory runs out: a tool, before anything else.
    first = ["/bin/sh", "-c", 'echo 1000 > /proc/self/oom_score_adj 2>/dev/null; exec "$@"', "sh", *command]
    return subprocess.Popen(  # noqa: S603 (our own command line)
        first,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=complaints,
        env={},
        cwd="/",
        pass_fds=(control,),
        start_new_session=True,
    )
