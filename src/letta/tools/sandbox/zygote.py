"""The process all calls are forked from: a warm Python that waits, and does nothing a tool could make use of.

Runs inside the sandbox, one for each set of requirements and kind of network. It takes orders on one socket and never
sees what a call is about: source, arguments and secrets come to the child on a descriptor of its own, so that nothing
of one call is in the memory of the next. The child shuts itself in before it reads them; if that fails, it ends.

Orders and reports are JSON datagrams:
  -> {"run": 7, "slot": 2, "program": [...] or null, "folder": "/tmp", ...}   with the call's descriptors
  -> {"kill": 7}
  <- {"ready": true}   {"ended": 7, "signal": 0, "code": 0}
"""

import gc
import json
import os
import resource
import select
import signal
import socket
import sys
from typing import Any, NoReturn

from letta.tools.sandbox import filters, guest, kernel
from letta.tools.sandbox.texts import load

_FIRST_USER = 60100
"""User ids of calls when the server is root: this one and those above, one for each call at a time."""
_MESSAGE, _DESCRIPTORS = 1 << 16, 5
_PAYLOAD, _ANSWER, _DOOR = 3, 4, 5
_BROKEN = 70
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")


class Zygote:
    """Takes orders until the server is gone. `settings` is what `letta.tools.sandbox.host` passes on the command line:

    isolation ("bubblewrap", "landlock" or "none"), network, readable (for Landlock), memory, files, file_size,
    processes, scratch (bytes, and seconds for cpu).
    """

    def __init__(self, control: socket.socket, settings: dict[str, Any]) -> None:
        self._control = control
        self._settings = settings
        self._calls: dict[int, int] = {}
        self._own = os.pidfd_open(os.getpid()) if self._boxed else -1
        shared = settings["isolation"] == "landlock"
        shut_in = settings["isolation"] != "none"
        self._filter = filters.Filter(network=settings["network"], shared=shared) if shut_in else None
        self._woken, self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    @property
    def _boxed(self) -> bool:
        return bool(self._settings["isolation"] == "bubblewrap")

    def serve(self) -> None:
        """Work until the control socket is closed."""
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        self._report({"ready": True})
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(self._woken, select.POLLIN)
        while True:
            ready = {descriptor for descriptor, _ in poll.poll()}
            if self._woken in ready:
                os.read(self._woken, 4096)
                self._reap()
            if self._control.fileno() in ready and not self._obey():
                return

    def _obey(self) -> bool:
        data, descriptors, _, _ = socket.recv_fds(self._control, _MESSAGE, _DESCRIPTORS)
        if not data:
            return False
        order = json.loads(data)
        if "kill" in order:
            for pid in [pid for pid, call in self._calls.items() if call == order["kill"]]:
                self._kill(pid)
        else:
            self._start(order, descriptors)
        return True

    def _start(self, order: dict[str, Any], descriptors: list[int]) -> None:
        try:
            if self._boxed:
                kernel.unshare(kernel.NEW_PID)
            pid = os.fork()
        except OSError as error:
            self._report({"ended": order["run"], "signal": 0, "code": _BROKEN, "why": str(error)})
        else:
            if pid == 0:
                self._child(order, descriptors)
            self._calls[pid] = order["run"]
        if self._boxed:
            kernel.enter(self._own, kernel.NEW_PID)
        for descriptor in descriptors:
            os.close(descriptor)

    def _kill(self, pid: int) -> None:
        """End a call. In a process namespace of its own all it started ends with it."""
        try:
            (os.kill if self._boxed else os.killpg)(pid, signal.SIGKILL)
        except ProcessLookupError:
            return  # ended by itself a moment ago

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            code = os.waitstatus_to_exitcode(status)
            call = self._calls.pop(pid, None)
            if call is not None:
                if not self._boxed:
                    self._kill(pid)  # what it left behind in its process group
                self._report({"ended": call, "signal": max(0, -code), "code": max(0, code)})

    def _report(self, report: dict[str, Any]) -> None:
        self._control.send(json.dumps(report).encode())

    # -- in the child --------------------------------------------------------------------------------------------------

    def _child(self, order: dict[str, Any], descriptors: list[int]) -> NoReturn:
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.setsid()
            self._keep_only(descriptors)
            self._confine(order)
            with open(_PAYLOAD, "rb", closefd=False) as file:
                file.seek(0)
                data = file.read() if order["program"] is None else b""
            if order["program"] is not None:
                self._execute(order)
            os.close(_PAYLOAD)
            guest.work(json.loads(data), _ANSWER, _DOOR if order["door"] else None)
        except BaseException as error:  # whatever it is: a call that is not shut in must not go on
            os.write(2, f"sandbox: {error}\n".encode())
        os._exit(_BROKEN)

    def _keep_only(self, descriptors: list[int]) -> None:
        """Standard output and error, payload, answer and door to their places, and everything else closed."""
        nothing = os.open("/dev/null", os.O_RDONLY)
        given = [nothing, *descriptors[:2], *descriptors[2:]]
        # First out of the way of their places, then into them.
        high = [os.dup2(descriptor, 100 + at) for at, descriptor in enumerate(given)]
        for at, descriptor in enumerate(high):
            os.dup2(descriptor, at, inheritable=at < _PAYLOAD)
        os.closerange(len(high), resource.getrlimit(resource.RLIMIT_NOFILE)[0])

    def _confine(self, order: dict[str, Any]) -> None:
        isolation = self._settings["isolation"]
        if self._boxed:
            self._box(order["slot"])
        else:
            kernel.die_with_parent()
        os.chdir(order["folder"])
        self._limit(order)
        kernel.no_new_privileges()
        if isolation != "none":
            kernel.drop_capabilities()
        if isolation == "landlock":
            kernel.landlock(self._settings["readable"], [order["folder"]], _DEVICES)
        if self._filter is not None:
            self._filter.install()

    def _box(self, slot: int) -> None:
        """Own mounts, own users: nothing of the call before, nothing of the calls at the same time."""
        root = os.getuid() == 0
        user = group = _FIRST_USER + slot
        if not root:
            user, group = os.getuid(), os.getgid()
        kernel.unshare(kernel.NEW_NS | kernel.NEW_IPC)
        kernel.make_mounts_private()
        scratch = self._settings["scratch"]
        kernel.mount_processes()
        for folder in ("/tmp", "/dev/shm"):  # noqa: S108 (these are mounted here, and nobody else's)
            kernel.mount_memory(folder, scratch, 10_000, (user, group))
        if root:
            os.setgroups([])
            os.setresgid(group, group, group)
            os.setresuid(user, user, user)
        else:
            # One more user namespace, in which the processes of this call are counted apart. It comes with all powers.
            kernel.unshare(kernel.NEW_USER)
            kernel.map_ids(user, group)
            kernel.bound_capabilities()

    def _limit(self, order: dict[str, Any]) -> None:
        settings, cpu = self._settings, order["cpu"]
        limits = {
            resource.RLIMIT_CPU: (cpu, cpu + 1),
            resource.RLIMIT_NOFILE: (settings["files"],) * 2,
            resource.RLIMIT_FSIZE: (settings["file_size"],) * 2,
            resource.RLIMIT_CORE: (0, 0),
            # Node reserves far more addresses than it uses; what is written to counts there.
            resource.RLIMIT_AS if order["program"] is None else resource.RLIMIT_DATA: (settings["memory"],) * 2,
        }
        if self._boxed:
            limits[resource.RLIMIT_NPROC] = (settings["processes"],) * 2
        for limit, values in limits.items():
            resource.setrlimit(limit, values)

    def _execute(self, order: dict[str, Any]) -> NoReturn:
        """Become another program, which finds the request and writes the answer where Python would."""
        os.set_inheritable(_PAYLOAD, True)
        os.set_inheritable(_ANSWER, True)
        os.lseek(_PAYLOAD, 0, os.SEEK_SET)
        surroundings = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": order["folder"], "LANG": "C.UTF-8"}
        os.execve(order["program"][0], order["program"], surroundings)  # noqa: S606 (Node, found by the server)


def _own_namespaces() -> None:
    """Without root: a user namespace in which this process may make others, and a process namespace of its own.

    The first process stays behind and waits, because a process namespace is entered by being born in it.
    """
    user, group = os.getuid(), os.getgid()
    kernel.unshare(kernel.NEW_USER | kernel.NEW_NS | kernel.NEW_PID)
    kernel.map_ids(user, group)
    pid = os.fork()
    if pid:
        os._exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) & 0xFF)
    kernel.die_with_parent()
    kernel.make_mounts_private()
    kernel.mount_processes()


def main(settings: str) -> None:
    """`settings` is a JSON object, see `Zygote`, with `control`, the descriptor of the control socket."""
    given = json.loads(settings)
    control = socket.socket(fileno=given["control"])
    control.set_inheritable(False)
    if given["isolation"] == "bubblewrap" and os.getuid() != 0:
        _own_namespaces()
    sys.dont_write_bytecode = True
    # The standard library, then what the call's world has: not what else this Python happens to have installed.
    standard = [path for path in sys.path if not path.endswith(("site-packages", "dist-packages"))]
    sys.path[:] = [path for path in standard if path != given["code"]] + given["paths"]
    load("letta_warm", "warm.py", guest.SLIM if given["slim"] else guest.WARM)
    for name in [name for name in sys.modules if name.partition(".")[0] == "letta"]:
        del sys.modules[name]
    if given["isolation"] != "none":
        kernel.bound_capabilities()
    gc.collect()
    gc.freeze()
    Zygote(control, given).serve()
