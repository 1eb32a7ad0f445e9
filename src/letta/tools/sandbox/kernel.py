"""The system calls a sandbox is made of, which Python 3.11 has no functions for. Linux only; runs inside.

Knows nothing of tools. Every function raises OSError when the kernel says no: nothing here fails quietly. Standard
library only, because any interpreter of a tool environment has to be able to import it.
"""

import ctypes
import os
from collections.abc import Iterable

_libc = ctypes.CDLL(None, use_errno=True)

NEW_NS, NEW_IPC, NEW_USER, NEW_PID = 0x00020000, 0x08000000, 0x10000000, 0x20000000

_NOSUID, _NODEV, _NOEXEC = 2, 4, 8
_REMOUNT_PRIVATE = 0x4000 | 0x40000  # MS_REC | MS_PRIVATE

_PR_SET_PDEATHSIG, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT = 1, 24, 38, 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_SYS_CAPSET = {"x86_64": 126, "aarch64": 91}
_CAPABILITY_VERSION_3 = 0x20080522
_LAST_CAPABILITY = 63

_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446
_LANDLOCK_VERSION = 1
_RULE_PATH_BENEATH = 1
# Access rights of files by ABI version, as bits: 13 in the first, then refer (2), truncate (3) and device ioctl (5).
_RIGHTS_BY_ABI = {1: 13, 2: 14, 3: 15, 4: 15}
_RIGHTS_NEWEST = 16
_READ_FILE, _READ_DIR, _EXECUTE, _WRITE_FILE = 1 << 2, 1 << 3, 1 << 0, 1 << 1
_TRUNCATE, _IOCTL = 1 << 14, 1 << 15
_ON_FILES = _READ_FILE | _EXECUTE | _WRITE_FILE | _TRUNCATE | _IOCTL
_SCOPED = 0b11  # abstract unix sockets and signals stay inside, from ABI 6 on
_FIRST_SCOPED_ABI = 6


def _check(result: int, what: str) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
    return result


def unshare(flags: int) -> None:
    """Leave namespaces of the parent (`NEW_...`)."""
    _check(_libc.unshare(flags), "unshare")


def enter(descriptor: int, kind: int) -> None:
    """Enter the namespace of a kind that a pidfd's process is in."""
    _check(_libc.setns(descriptor, kind), "setns")


def map_ids(user: int, group: int) -> None:
    """Be the same user and group in the user namespace just made as outside of it. Needs /proc."""
    for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def make_mounts_private() -> None:
    """Keep later mounts from being seen in the parent's mount namespace."""
    _check(_libc.mount(b"none", b"/", None, _REMOUNT_PRIVATE, None), "mount --make-rprivate /")


def mount_memory(target: str, size: int, files: int, owner: tuple[int, int]) -> None:
    """An empty folder of at most `size` bytes and `files` files in memory, gone with the mount namespace."""
    options = f"size={size},nr_inodes={files},mode=0700,uid={owner[0]},gid={owner[1]}"
    flags = _NOSUID | _NODEV
    _check(_libc.mount(b"tmpfs", target.encode(), b"tmpfs", flags, options.encode()), f"mount tmpfs {target}")


def mount_processes() -> None:
    """A /proc that shows this process namespace only."""
    flags = _NOSUID | _NODEV | _NOEXEC
    _check(_libc.mount(b"proc", b"/proc", b"proc", flags, None), "mount proc")


def die_with_parent() -> None:
    """Be killed when the thread that started this process ends."""
    _check(_libc.prctl(_PR_SET_PDEATHSIG, 9, 0, 0, 0), "prctl(PDEATHSIG)")


def no_new_privileges() -> None:
    """Never again gain privileges, not by running setuid programs either."""
    _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl(NO_NEW_PRIVS)")


def bound_capabilities() -> None:
    """Keep this process and its children from getting powers by running programs. Those it has it keeps."""
    for capability in range(_LAST_CAPABILITY + 1):
        if _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0) < 0:
            break  # beyond the last one this kernel knows, or without the right to narrow what was never there


def drop_capabilities() -> None:
    """Give up all powers, for good."""
    _libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    _check(_libc.syscall(_SYS_CAPSET[os.uname().machine], header, (ctypes.c_uint32 * 6)()), "capset")


def landlock_abi() -> int:
    """The kernel's version of Landlock, 0 where it has none."""
    return max(0, int(_libc.syscall(_LANDLOCK_CREATE, None, 0, _LANDLOCK_VERSION)))


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def landlock(readable: Iterable[str], writable: Iterable[str], devices: Iterable[str]) -> None:
    """Let this process and its children touch these files and folders and no others; paths that are missing are fine.

    Readable ones may be read and executed, writable ones changed in every way, devices read and written. Needs
    `no_new_privileges`.
    """
    abi = landlock_abi()
    every = (1 << _RIGHTS_BY_ABI.get(abi, _RIGHTS_NEWEST)) - 1
    scoped = abi >= _FIRST_SCOPED_ABI
    rules = _Ruleset(every, 0, _SCOPED if scoped else 0)
    size = ctypes.sizeof(rules) if scoped else 8
    ruleset = _check(_libc.syscall(_LANDLOCK_CREATE, ctypes.byref(rules), size, 0), "landlock_create_ruleset")
    for paths, rights in (
        (readable, _READ_FILE | _READ_DIR | _EXECUTE),
        (writable, every & ~_EXECUTE),
        (devices, _READ_FILE | _WRITE_FILE),
    ):
        for path in paths:
            _allow(ruleset, path, rights & every)
    _check(_libc.syscall(_LANDLOCK_RESTRICT, ruleset, 0), "landlock_restrict_self")
    os.close(ruleset)


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    allowed = rights if os.path.isdir(path) else rights & _ON_FILES
    rule = _PathBeneath(allowed, opened)
    _check(_libc.syscall(_LANDLOCK_ADD, ruleset, _RULE_PATH_BENEATH, ctypes.byref(rule), 0), f"landlock {path}")
    os.close(opened)
