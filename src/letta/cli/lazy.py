"""Which module does the work of which command.

Loaded when the command runs: so `letta --help` is quick, and `letta server` does not load the client.
"""

import gc
import importlib
from typing import Any

WORK = {
    "server": "letta.cli.serve:serve",
    "worker": "letta.cli.worker:work",
    "chat": "letta.cli.chat:chat",
    "agents list": "letta.cli.agents:show_all",
    "agents create": "letta.cli.agents:create",
    "agents show": "letta.cli.agents:show",
    "agents delete": "letta.cli.agents:delete",
    "doctor": "letta.cli.doctor:doctor",
}
"""Command -> `module:function`."""


def run(command: str, **options: Any) -> None:
    """Do what `command` does; it ends the process with typer.Exit where its exit code is not 0."""
    module, _, name = WORK[command].partition(":")
    # Importing makes many objects and no garbage: looking for it would take a quarter of the start.
    gc.disable()
    work = getattr(importlib.import_module(module), name)
    gc.freeze()
    gc.enable()
    work(**options)
