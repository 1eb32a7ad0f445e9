"""What a cloud has to do to be a sandbox: run a Python program in a new machine, and hand back what it printed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

CloudKind = Literal["e2b", "modal"]


@dataclass(frozen=True, slots=True)
class CloudJob:
    """A program to run. `seconds` is all it may take, `requirements` are packages it installs or finds installed.

    `keys` are where the cloud's keys are looked for: the agent's secrets, over the server's environment.
    """

    program: str
    seconds: float
    network: bool
    requirements: tuple[str, ...]
    keys: Mapping[str, str]


class Cloud(Protocol):
    """One cloud. `variables` are the names of its keys, `installs` says that it brings the requirements itself."""

    kind: CloudKind
    variables: tuple[str, ...]
    installs: bool

    async def run(self, job: CloudJob) -> str:
        """What the program printed, from a sandbox that is gone when this returns or is cancelled.

        Raises:
            letta.tools.sandbox.process.SandboxFault: it could not be run; the message says why and names no key.
        """
        ...

    async def aclose(self) -> None:
        """Close connections."""
        ...
