"""The sockets a server listens on, opened before anything else so that a taken port costs no start."""

import errno
import socket
import sys
from contextlib import ExitStack

from letta.errors import InvalidRequest


class PortTakenError(InvalidRequest):
    """Another program listens there."""


def reachable_url(host: str, port: int) -> str:
    """Where a program on this machine finds what listens on `host`."""
    bare = host.strip("[]")
    if bare in ("0.0.0.0", "::"):  # noqa: S104 - not bound here, only recognised
        bare = "localhost"
    return f"http://[{bare}]:{port}" if ":" in bare else f"http://{bare}:{port}"


def listen(host: str, port: int) -> list[socket.socket]:
    """Sockets bound to every address of `host` (`localhost` often has two), all on one port.

    Raises:
        PortTakenError: another program listens on one of them.
        letta.errors.InvalidRequest: the address is not one of this machine, or the port needs other rights.
    """
    addresses = _addresses(host, port)
    with ExitStack() as undo:
        sockets: list[socket.socket] = []
        for family, address in addresses:
            bound = _bind(family, (address, sockets[0].getsockname()[1] if sockets else port), optional=bool(sockets))
            if bound is not None:
                sockets.append(undo.enter_context(bound))
        undo.pop_all()
    return sockets


def give_up_after(sockets: list[socket.socket], seconds: float) -> None:
    """Let the system end connections made to `sockets` whose other side takes nothing for so long, where it can.

    The server drops such a reader by itself; without this, what it had sent before would stay in memory.
    """
    if sys.platform == "linux":
        for bound in sockets:
            bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, max(int(seconds * 1000), 1))


def _addresses(host: str, port: int) -> list[tuple[socket.AddressFamily, str]]:
    """IPv4 first: where a machine cannot do IPv6, its addresses are left out."""
    try:
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise InvalidRequest(f"--host {host}: this address is not known ({error.strerror}).") from error
    unique = {(family, str(address[0])): None for family, _, _, _, address in found}
    return sorted(unique, key=lambda one: one[0] != socket.AF_INET)


def _bind(family: socket.AddressFamily, address: tuple[str, int], *, optional: bool) -> socket.socket | None:
    try:
        bound = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        if optional:
            return None
        raise InvalidRequest(f"cannot listen on {address[0]}: {error.strerror}.") from error
    if sys.platform != "win32":
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    try:
        bound.bind(address)
        bound.listen(2048)
    except OSError as error:
        bound.close()
        _refuse(error, address, optional)
        return None
    bound.setblocking(False)
    return bound


def _refuse(error: OSError, address: tuple[str, int], optional: bool) -> None:
    where = f"port {address[1]} of {address[0]}"
    if error.errno == errno.EADDRINUSE:
        raise PortTakenError(f"{where} is in use by another program.") from error
    if optional and error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
        return
    if error.errno == errno.EACCES:
        raise InvalidRequest(f"{where} needs rights this user does not have: choose a port above 1023.") from error
    raise InvalidRequest(f"cannot listen on {where}: {error.strerror}.") from error
