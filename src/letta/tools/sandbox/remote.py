"""Calls in a cloud, as the local sandbox makes them: a request goes in, an `Outcome` comes out.

Every call gets a sandbox of its own, which ends with it. The clouds differ in how a program gets there (`clouds`); what
it does there is the same in all of them (`carried`).
"""

import base64
import importlib
import importlib.util
import json
import secrets
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from letta.tools.sandbox import carried, door, guest, texts
from letta.tools.sandbox.clouds import Cloud, CloudJob, CloudKind
from letta.tools.sandbox.e2b import E2B
from letta.tools.sandbox.host import Job, Outcome
from letta.tools.sandbox.isolation import Limits
from letta.tools.sandbox.modal_cloud import Modal
from letta.tools.sandbox.process import SandboxFault

_INSTALL_SECONDS = 300.0
_LIBRARY = "modal"


def problem(kind: CloudKind) -> str | None:
    """Why a cloud cannot be used here, as far as a look can tell."""
    if kind == "modal" and importlib.util.find_spec(_LIBRARY) is None:
        return "the Python package `modal` is not installed beside the server"
    return None


def opened(kind: CloudKind, environment: Mapping[str, str]) -> Cloud:
    """A cloud. `environment` is the server's own, where addresses and keys may be."""
    return E2B(environment) if kind == "e2b" else Modal(importlib.import_module(_LIBRARY), environment)


class RemoteSandbox:
    """Makes calls in a cloud. `environment` is where its keys are looked for, after the agent's secrets."""

    def __init__(self, kind: CloudKind, limits: Limits, environment: Mapping[str, str]) -> None:
        self.kind = kind
        self._cloud = opened(kind, environment)
        self._limits = limits
        self._keys = {name: environment[name] for name in self._cloud.variables if environment.get(name)}

    async def run(self, job: Job) -> Outcome:
        """Make a call. The cloud's keys are taken out of its environment, and it has no way back to this server.

        Raises:
            SandboxFault: it could not be made; the message says why.
        """
        given = job.request["environment"]
        keys = {**self._keys, **{name: given[name] for name in self._cloud.variables if given.get(name)}}
        kept = {name: value for name, value in given.items() if name not in self._cloud.variables}
        mark = f"letta-{secrets.token_hex(16)}:"
        packed = {
            "mark": mark,
            "files": _files(),
            "request": {**job.request, "environment": kept},
            "requirements": [] if self._cloud.installs else list(job.requirements),
            "seconds": job.timeout,
            "output": self._limits.output,
            "answer": self._limits.answer,
        }
        program = f"{_text(carried)}\n\nmain({_packed(packed)!r})\n"
        patience = job.timeout + (_INSTALL_SECONDS if job.requirements else 0)
        printed = await self._cloud.run(CloudJob(program, patience, job.world.network, job.requirements, keys))
        return _outcome(printed, mark)

    async def aclose(self) -> None:
        """Close connections."""
        await self._cloud.aclose()


def _files() -> dict[str, str]:
    """The code that makes a call, by its path."""
    modules = {
        f"letta/tools/sandbox/{module.__name__.rpartition('.')[2]}.py": module for module in (guest, door, texts)
    }
    packages = ("letta/__init__.py", "letta/tools/__init__.py", "letta/tools/sandbox/__init__.py")
    return dict.fromkeys(packages, "") | {path: _text(module) for path, module in modules.items()}


def _text(module: Any) -> str:
    return Path(module.__file__).read_text(encoding="utf-8")


def _packed(value: Mapping[str, Any]) -> str:
    return base64.b64encode(zlib.compress(json.dumps(value).encode())).decode()


def _outcome(printed: str, mark: str) -> Outcome:
    """What the program says came of the call. It ran beside the tool, so it may be anything."""
    try:
        found = json.loads(printed.rpartition(mark)[2]) if mark in printed else None
        if found is None:
            raise SandboxFault(
                f"the cloud's sandbox ended before the call did: {printed.strip()[-300:] or 'no output'}"
            )
        if "fault" in found:
            return Outcome(None, "", "", 0, 0, fault=str(found["fault"]))
        answer = base64.b64decode(found["answer"]) if found["answer"] else None
        return Outcome(
            answer,
            str(found["stdout"]),
            str(found["stderr"]),
            int(found["signal"]),
            int(found["code"]),
            timed_out=bool(found["timed_out"]),
        )
    except (ValueError, KeyError, TypeError):
        raise SandboxFault("the cloud's sandbox answered in a form that is not known") from None
