"""What commands print to: a console that is plain when it is not a terminal, and the one way to end with an error."""

import sys
from typing import NoReturn

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape

from letta.settings import Settings

_WIDE = 240
"""Characters of a line where nobody looks at it: programs that read it want lines, not a layout."""


def stdout() -> Console:
    """Standard output."""
    if sys.stdout.isatty():
        return Console(highlight=False)
    return Console(width=_WIDE, soft_wrap=True, highlight=False)


def stderr() -> Console:
    """Standard error."""
    return Console(stderr=True, soft_wrap=True, highlight=False)


def fail(message: str, code: int = 1) -> NoReturn:
    """Say what is wrong and end. Code 2 means that the command was called wrongly."""
    stderr().print(f"[bold red]Error:[/] {escape(message)}")
    raise typer.Exit(code)


def read_settings(**given: object) -> Settings:
    """Settings from the environment, with the options that are not None over them; unusable ones end the command."""
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        fail(f"{problems} (from an option or the environment)", 2)
