"""What can go wrong, and how an error of the server is told.

    RunFailed               the agent's run ended in an error, was cancelled, or its stream broke off
    ToolInvocationError     a tool called directly failed

Everything the server refuses is raised as the letta-client error of its status, with a message that names what it is
about and repeats what the server said.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from letta_client import APIStatusError, NotFoundError

from openharness.adapter import AdapterExecutionResult


class RunFailed(Exception):
    """The agent's run did not come to a good end.

    `stop_reason` is the server's, or `None` if the stream broke off; `result` is what there was until then.
    """

    def __init__(self, message: str, stop_reason: str | None = None) -> None:
        super().__init__(message)
        self.stop_reason = stop_reason
        self.result: AdapterExecutionResult | None = None


class ToolInvocationError(Exception):
    """A tool called directly failed."""


@contextmanager
def about(noun: str, name: str) -> Iterator[None]:
    """Make errors of the server name the thing they are about."""
    try:
        yield
    except APIStatusError as error:
        gone = "not found: " if isinstance(error, NotFoundError) else ""
        named = f"{noun} {name}: {gone}{server_words(error)}"
        raise type(error)(named, response=error.response, body=error.body) from error


def server_words(error: APIStatusError) -> str:
    """What the server said, without the wrapping."""
    body = error.body
    if isinstance(body, dict):
        said = body.get("detail") or body.get("error") or body
        if isinstance(said, dict):
            said = said.get("message") or said
        return str(said)
    return error.message


def run_error(frame: dict[str, Any]) -> str:
    """An error frame of a stream in one line."""
    parts = [str(frame[key]) for key in ("error_type", "message", "detail") if frame.get(key)]
    return ": ".join(parts) or "the run failed"
