"""Which isolation this machine can do: the best that a real call works in. The server's side.

Used by the server when it starts, and by `letta doctor`. A cloud is used only where it was asked for.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from letta.tools.sandbox import isolation, remote
from letta.tools.sandbox.clouds import CloudKind
from letta.tools.sandbox.host import Job, Sandbox
from letta.tools.sandbox.isolation import Isolation, Limits, World
from letta.tools.sandbox.process import SandboxFault

Wanted = Literal["auto", "bubblewrap", "landlock", "e2b", "modal"]

_PROBE_SECONDS = 20.0
# What was tried once in this process: a machine does not learn while it runs.
_found: dict[Isolation, str | None] = {}
_MEANING = {
    "bubblewrap": "own files, processes, users and network for every call",
    "landlock": "only chosen files, no other processes, no sockets; less than bubblewrap",
    "e2b": "a machine of its own in E2B's cloud for every call",
    "modal": "a container of its own in Modal's cloud for every call",
    "none": "NO isolation (unsafe_tools is on): tools can do whatever this server's user can",
}


@dataclass(frozen=True, slots=True)
class Choice:
    """What was found. `kind` is None when tools cannot run; `problems` says why each better isolation does not work."""

    kind: Isolation | CloudKind | None
    problems: tuple[str, ...]

    def __str__(self) -> str:
        why = "; ".join(self.problems)
        if self.kind is None:
            return f"tools written in code are off: {why}"
        return f"tool sandbox: {self.kind} ({_MEANING[self.kind]})" + (f" [{why}]" if why else "")


async def choose(wanted: Wanted, limits: Limits, hidden: Sequence[Path], *, unsafe: bool) -> Choice:
    """Try each isolation with a call that does nothing, the best first; `unsafe` allows to have none at all.

    A cloud is not tried: that would take its keys, which may be an agent's, and money.
    """
    if wanted == "e2b" or wanted == "modal":
        missing = remote.problem(wanted)
        return Choice(wanted, ()) if missing is None else Choice(None, (f"{wanted}: {missing}",))
    problems: list[str] = []
    kinds: list[Isolation] = ["bubblewrap", "landlock"] if wanted == "auto" else [wanted]
    for kind in kinds:
        problem = isolation.possible(kind) or _conflict(kind, limits, hidden) or await _known_problem(kind, limits)
        if problem is None:
            return Choice(kind, tuple(problems))
        problems.append(f"{kind}: {problem}")
    return Choice("none" if unsafe else None, tuple(problems))


def _conflict(kind: Isolation, limits: Limits, hidden: Sequence[Path]) -> str | None:
    try:
        isolation.command(kind, World((), network=False), limits, 0, [path.resolve() for path in hidden])
    except ValueError as error:
        return str(error)
    return None


async def _known_problem(kind: Isolation, limits: Limits) -> str | None:
    if kind not in _found:
        _found[kind] = await _problem(kind, limits)
    return _found[kind]


async def _problem(kind: Isolation, limits: Limits) -> str | None:
    sandbox = Sandbox(kind, limits)
    request: dict[str, Any] = {"what": "probe", "environment": {}, "paths": [], "limit": limits.answer}
    try:
        outcome = await sandbox.run(Job(World((), network=False), request, _PROBE_SECONDS))
    except SandboxFault as error:
        return str(error)
    finally:
        await sandbox.aclose()
    if outcome.answer is not None and json.loads(outcome.answer).get("ok") is True:
        return None
    return outcome.fault or outcome.stderr.strip()[-300:] or "a call that does nothing failed"
