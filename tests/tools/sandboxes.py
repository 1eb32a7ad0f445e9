"""Tools to call in a test, in each isolation this machine can do."""

import inspect
import textwrap
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from letta.schemas.tools import Tool
from letta.settings import Settings
from letta.tools.context import ToolResult
from letta.tools.custom import CustomTools, ToolEnvironment
from letta.tools.sandbox import isolation

KINDS = [
    pytest.param(kind, marks=pytest.mark.skipif(bool(why := isolation.possible(kind)), reason=str(why)))
    for kind in ("bubblewrap", "landlock")
]


@asynccontextmanager
async def tools_in(
    folder: Path, kind: str = "auto", environment: Mapping[str, str] | None = None, **settings: Any
) -> AsyncIterator[CustomTools]:
    """Tools in one kind of sandbox, with their data in `folder`."""
    chosen = Settings(**{"data_dir": folder, "sandbox": kind, "tool_timeout": 20, **settings})
    custom = CustomTools(chosen, environment or {})
    try:
        yield custom
    finally:
        await custom.aclose()


def tool(source: str, **fields: Any) -> Tool:
    """A tool whose function is called `f`, unless `name` says otherwise."""
    return Tool(
        **{"id": "tool-1", "name": "f", "source_code": textwrap.dedent(source), "source_type": "python", **fields}
    )


def tool_of(function: Any) -> Tool:
    """A tool with the source of a function of the test's own."""
    return tool(inspect.getsource(function), name=function.__name__)


async def call(
    custom: CustomTools,
    source: str,
    *,
    secrets: Mapping[str, str] | None = None,
    timeout: float | None = None,  # noqa: ASYNC109 (the tool's)
    **arguments: Any,
) -> ToolResult:
    """Call the function `f` of a source."""
    return await custom.run(tool(source), arguments, ToolEnvironment(secrets=secrets or {}, timeout=timeout))
