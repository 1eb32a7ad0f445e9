"""Which ways there are to shut a tool in, and the command line that starts a zygote in each. The server's side.

Knows files and commands, and nothing of calls.
"""

import json
import os
import shutil
import site
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from letta.tools.sandbox import filters, kernel

Isolation = Literal["bubblewrap", "landlock", "none"]

CODE = Path(__file__).resolve().parents[3]
"""The folder that holds the package `letta`."""
_HERE = Path(__file__).resolve().parent
_INSIDE = "/sandbox"
"""Where the sandbox's own code is seen in bubblewrap; nothing else of the server is."""
_WORLD = Path("/world")
_TEMPORARY = Path("/tmp")  # noqa: S108 (only looked at)

_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/lib32", "/nix/store")
# Of certificates only what is public: private keys lie beside it.
_ETC = (
    "/etc/ld.so.cache", "/etc/alternatives", "/etc/localtime", "/etc/mime.types", "/etc/ssl/openssl.cnf",
    "/etc/pki/tls/openssl.cnf",
)  # fmt: skip
_ETC_NETWORK = (
    "/etc/ssl/certs", "/etc/ssl/cert.pem", "/etc/ca-certificates", "/etc/pki/tls/certs", "/etc/pki/ca-trust/extracted",
    "/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf",
    "/etc/gai.conf", "/etc/services", "/etc/protocols",
)  # fmt: skip
_OLDEST_LANDLOCK = 3
"""Before this version, files that may only be read can be cut short."""
_POWERS = ("CAP_SYS_ADMIN", "CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP", "CAP_KILL", "CAP_CHOWN")
"""What a zygote of root needs to shut in its children; they lose it before any code of a tool runs."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one call may use. `memory`, `file_size`, `scratch` and `answer` are bytes; `files` are open ones."""

    memory: int = 1 << 30
    processes: int = 64
    files: int = 256
    file_size: int = 64 << 20
    scratch: int = 64 << 20
    answer: int = 4 << 20
    output: int = 64 << 10


@dataclass(frozen=True, slots=True)
class World:
    """What a zygote sees: folders of packages (the first wins), whether there is a network, what else may be read.

    `slim` is for calls that need little of the standard library: their process is copied faster.
    """

    packages: tuple[Path, ...]
    network: bool
    also: tuple[Path, ...] = ()
    slim: bool = False


def seen_as(path: Path, isolation: Isolation) -> Path:
    """Where a call sees a folder of its world: bubblewrap's /tmp is empty, so what is below the real one moves."""
    moved = isolation == "bubblewrap" and path.is_relative_to(_TEMPORARY)
    return _WORLD / path.relative_to("/") if moved else path


@lru_cache(maxsize=1)
def own_packages() -> tuple[Path, ...]:
    """The folders of packages this server runs with; tools may import from them, after their own requirements."""
    return tuple(Path(folder).resolve() for folder in site.getsitepackages() if Path(folder).is_dir())


def command(isolation: Isolation, world: World, limits: Limits, control: int, hidden: Sequence[Path]) -> list[str]:
    """The command line of a zygote. `control` is the descriptor of its socket, `hidden` what it must never see.

    Raises:
        ValueError: this isolation would show what is hidden.
    """
    boxed = isolation == "bubblewrap"
    readable = _readable(world)
    settings: dict[str, Any] = {
        "isolation": isolation,
        "network": world.network,
        "slim": world.slim,
        "control": control,
        "code": _INSIDE if boxed else str(CODE),
        "paths": [str(seen_as(path, isolation)) for path in world.packages],
        "readable": [str(path) for path in readable],
        "memory": limits.memory,
        "processes": limits.processes,
        "files": limits.files,
        "file_size": limits.file_size,
        "scratch": limits.scratch,
    }
    start = (
        "import sys; sys.path.insert(0, sys.argv[1]); from letta.tools.sandbox.zygote import main; main(sys.argv[2])"
    )
    python = [interpreter(), "-I", "-X", "utf8", "-B", "-c", start, settings["code"], json.dumps(settings)]
    if boxed:
        return [*_bubblewrap(world, readable, hidden), *python]
    for folder in hidden:
        if isolation == "landlock" and any(folder.is_relative_to(path) for path in readable):
            raise ValueError(f"{folder} lies inside a folder that tools may read: choose another data_dir")
    return python


def interpreter() -> str:
    """The Python that tools run with: this one, outside of its virtual environment."""
    return str(Path(getattr(sys, "_base_executable", None) or sys.executable).resolve())


def possible(isolation: Isolation) -> str | None:
    """Why an isolation cannot work here, as far as a look can tell; None when it is worth a try."""
    if not sys.platform.startswith("linux"):
        return f"{sys.platform} has no isolation this server can use"
    if not filters.supported():
        return "the machine's processor is not one the system call filter knows (x86-64, 64-bit ARM)"
    if isolation == "bubblewrap" and shutil.which("bwrap") is None:
        return "bwrap is not installed (package bubblewrap)"
    if isolation == "landlock" and kernel.landlock_abi() < _OLDEST_LANDLOCK:
        return "the kernel has no Landlock, or an older one than Linux 6.2's"
    return None


def _readable(world: World) -> list[Path]:
    etc = _ETC + (_ETC_NETWORK if world.network else ())
    found = [*map(Path, _SYSTEM), Path(sys.base_prefix), Path(interpreter()).parent, *world.packages, *world.also]
    return [path for path in dict.fromkeys([*found, *map(Path, etc)]) if path.exists()]


def _bubblewrap(world: World, readable: Iterable[Path], hidden: Sequence[Path]) -> list[str]:
    root = os.getuid() == 0
    bwrap = shutil.which("bwrap") or "bwrap"
    made = [bwrap, "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try", "--die-with-parent"]
    made += ["--new-session", "--clearenv", "--cap-drop", "ALL"]
    made += [word for power in _POWERS for word in ("--cap-add", power)] if root else ["--unshare-user"]
    made += [] if world.network else ["--unshare-net"]
    shown = list(readable)
    seen = [seen_as(path, "bubblewrap") for path in shown]
    inside = Path(_INSIDE) / "letta/tools/sandbox"
    # Folders on the way to what is shown: made here, or bubblewrap makes them with the modes of the real ones, and
    # the users of calls could not get through.
    ways = dict.fromkeys(parent for path in [*seen, inside] for parent in reversed(path.parents[:-1]))
    made += [word for way in ways if way not in shown for word in ("--dir", str(way))]
    for path, place in [*zip(shown, seen, strict=True), (_HERE, inside)]:
        made += ["--ro-bind", str(path), str(place)]
    for folder in hidden:
        if any(folder.is_relative_to(path) for path in shown) and folder.is_dir():
            made += ["--tmpfs", str(folder)]
    for path in (*world.packages, *world.also):
        if any(path.is_relative_to(folder) for folder in hidden):
            made += ["--ro-bind", str(path), str(seen_as(path, "bubblewrap"))]
    made += ["--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp"]  # noqa: S108 (of the sandbox)
    return [*made, "--remount-ro", "/dev", "--remount-ro", "/tmp", "--remount-ro", "/", "--chdir", "/", "--"]  # noqa: S108
