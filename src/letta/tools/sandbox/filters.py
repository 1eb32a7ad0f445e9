"""A filter over system calls (seccomp): what no tool needs, and what would reach beyond the sandbox. Runs inside.

Standard library only. Calls are refused with an error number, never by killing the process, so that a tool can tell
what happened. Knows the numbers of x86-64 and 64-bit ARM; elsewhere there is no filter and so no sandbox.
"""

import ctypes
import errno
import os
import struct

_libc = ctypes.CDLL(None, use_errno=True)

# name: (number on x86-64, number on aarch64); None where the call does not exist.
_NUMBERS: dict[str, tuple[int | None, int]] = {
    # Namespaces, mounts, and the kernel itself: powers a sandbox has no use for.
    "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41),
    "chroot": (161, 51), "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430),
    "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433), "mount_setattr": (442, 442),
    "swapon": (167, 224), "swapoff": (168, 225), "reboot": (169, 142), "acct": (163, 89), "syslog": (103, 116),
    "quotactl": (179, 60), "quotactl_fd": (443, 443), "init_module": (175, 105), "finit_module": (313, 273),
    "delete_module": (176, 106), "kexec_load": (246, 104), "kexec_file_load": (320, 294),
    # Large, and often at fault: asynchronous I/O rings (which would also go around this filter), programs in the
    # kernel, other processes' memory, keys, handles to files.
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427), "bpf": (321, 280),
    "userfaultfd": (323, 282), "perf_event_open": (298, 241), "ptrace": (101, 117),
    "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "pidfd_getfd": (438, 438), "kcmp": (312, 272),
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219), "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
}  # fmt: skip

_OTHERS: dict[str, tuple[int | None, int]] = {
    # Without process and user namespaces of their own, tools share these with every program of the same user.
    "fork": (57, -1), "vfork": (58, -1), "tkill": (200, 130), "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240), "pidfd_open": (434, 434), "pidfd_send_signal": (424, 424),
    "process_madvise": (440, 440), "process_mrelease": (448, 448), "setpriority": (141, 140),
    "sched_setscheduler": (144, 119), "sched_setparam": (142, 118), "sched_setattr": (314, 274),
    "ioprio_set": (251, 30), "migrate_pages": (256, 238), "move_pages": (279, 239), "shmget": (29, 194),
    "shmat": (30, 196), "msgget": (68, 186), "semget": (64, 190), "mq_open": (240, 180), "mq_unlink": (241, 181),
    # Landlock does not watch over these: they would change files that can only be read.
    "chmod": (90, -1), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452), "chown": (92, -1),
    "fchown": (93, 55), "lchown": (94, -1), "fchownat": (260, 54), "setxattr": (188, 5), "lsetxattr": (189, 6),
    "fsetxattr": (190, 7), "removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16),
    "setxattrat": (463, 463), "removexattrat": (466, 466), "utime": (132, -1), "utimes": (235, -1),
    "futimesat": (261, -1), "utimensat": (280, 88), "fanotify_init": (300, 262),
}  # fmt: skip

_CLONE, _CLONE3, _SOCKET = (56, 220), (435, 435), (41, 198)
_KILL, _TGKILL, _PRLIMIT, _SETAFFINITY = (62, 129), (234, 131), (302, 261), (203, 122)
_NAMESPACES, _THREAD = 0x7E020080, 0x00010000
_INTERNET = (2, 10, 16)  # AF_INET, AF_INET6, and AF_NETLINK, which name look-ups ask for the machine's addresses

_ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
_LOAD, _EQUAL, _ANY_BIT, _GREATER, _RETURN = 0x20, 0x15, 0x45, 0x35, 0x06
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000
_X32 = 0x40000000
_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 22, 2

Instruction = tuple[int, int, int, int]
_INSTRUCTION = struct.Struct("<HBBI")
_VALUE = 4
_ITSELF = 0xFEEDF00D  # stands for the number of the process; no process and no system call has this one


def supported() -> bool:
    """Whether the filter knows this machine's system calls."""
    return os.uname().machine in _ARCHITECTURES


class Filter:
    """A filter that is made ready once and then installed in many processes.

    Without `network` there are no sockets at all, with it there are those of the internet. `shared` is for processes
    that live beside the machine's other ones, in no namespaces of their own: they cannot start processes (threads
    they can), signal others, or change the attributes of files. Raises KeyError where the machine is not supported.
    """

    def __init__(self, *, network: bool, shared: bool) -> None:
        code = _program(network=network, shared=shared)
        self._count = len(code)
        self._packed = b"".join(_INSTRUCTION.pack(*instruction) for instruction in code)
        # Where a process has to put its own number.
        self._places = [
            at * _INSTRUCTION.size + _VALUE for at, instruction in enumerate(code) if instruction[3] == _ITSELF
        ]

    def install(self) -> None:
        """Filter the calls of this process and its children from now on. Needs `no_new_privileges`.

        Raises:
            OSError: the kernel refuses.
        """
        memory = ctypes.create_string_buffer(self._packed)
        for place in self._places:
            struct.pack_into("<I", memory, place, os.getpid())
        program = struct.pack("@HP", self._count, ctypes.addressof(memory))
        if _libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, program, 0, 0) < 0:
            code_number = ctypes.get_errno()
            raise OSError(code_number, f"seccomp: {os.strerror(code_number)}")


def _program(*, network: bool, shared: bool) -> list[Instruction]:
    column, architecture = _ARCHITECTURES[os.uname().machine]
    code: list[Instruction] = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, architecture),
        _refuse(errno.EPERM),
        (_LOAD, 0, 0, _NUMBER),
        (_GREATER, 0, 1, _X32),
        _refuse(errno.EPERM),
    ]
    for numbers in (_NUMBERS | (_OTHERS if shared else {})).values():
        number = numbers[column]
        if number is not None and number >= 0:
            code += [(_EQUAL, 0, 1, number), _refuse(errno.EPERM)]
    # The flags of clone3 are in memory, where a filter cannot look. C libraries fall back to clone.
    code += [(_EQUAL, 0, 1, _CLONE3[column]), _refuse(errno.ENOSYS)]
    code += _clone(_CLONE[column], threads_only=shared)
    code += _only(_SOCKET[column], _INTERNET if network else (), errno.EACCES if network else errno.ENETUNREACH)
    if shared:
        for call in (_KILL, _TGKILL, _PRLIMIT, _SETAFFINITY):
            code += _only(call[column], (_ITSELF,) if call in (_KILL, _TGKILL) else (0, _ITSELF), errno.EPERM)
    return [*code, (_RETURN, 0, 0, _ALLOW)]


def _refuse(error: int) -> Instruction:
    return (_RETURN, 0, 0, _REFUSE | error)


def _clone(number: int, *, threads_only: bool) -> list[Instruction]:
    body: list[Instruction] = [(_LOAD, 0, 0, _ARGUMENTS), (_ANY_BIT, 0, 1, _NAMESPACES), _refuse(errno.EPERM)]
    if threads_only:
        body += [(_ANY_BIT, 1, 0, _THREAD), _refuse(errno.EPERM)]
    return _block(number, body)


def _only(number: int, allowed: tuple[int, ...], error: int) -> list[Instruction]:
    """Refuse a call unless its first argument is one of these."""
    tests: list[Instruction] = [(_EQUAL, len(allowed) - at, 0, value) for at, value in enumerate(allowed)]
    return _block(number, [(_LOAD, 0, 0, _ARGUMENTS), *tests, _refuse(error)])


def _block(number: int, body: list[Instruction]) -> list[Instruction]:
    """Instructions for one call. They use up the loaded number, so it is loaded again behind them."""
    return [(_EQUAL, 0, len(body), number), *body, (_LOAD, 0, 0, _NUMBER)]
