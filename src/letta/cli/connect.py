"""How commands reach agents: a server that runs, or the same server inside this process."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import letta_client

from letta import log as logs
from letta.cli import terminal
from letta.client import Letta
from letta.errors import LettaError
from letta.settings import Settings
from letta.store.lock import holder, lock_path

USUAL_URL = "http://localhost:8283"


@dataclass(frozen=True, slots=True)
class Where:
    """Where agents are: at `url`, or in this process when it is None."""

    url: str | None
    settings: Settings

    def __str__(self) -> str:
        return self.url or f"this process (data folder {self.settings.data_dir})"


def find(url: str | None, settings: Settings, *, local: bool = False, only_running: bool = False) -> Where:
    """The server named, else the one that has the data folder open, else one at the usual address, else this process.

    With `only_running` a server has to run: without one the command ends with advice.
    """
    if url and local:
        terminal.fail("--url and --local exclude each other.", 2)
    if url or local:
        return Where(url, settings)
    if named := os.environ.get("LETTA_BASE_URL"):
        return Where(named, settings)
    path = lock_path(settings.resolved_database_url)
    if path is not None and (other := holder(path)) is not None and other.url:
        return Where(other.url, settings)
    # A data folder of one's own means the agents in it, not those of whatever runs at the usual address.
    if settings.data_dir == Settings.model_fields["data_dir"].default and is_server(USUAL_URL):
        return Where(USUAL_URL, settings)
    if only_running:
        terminal.fail(
            f"No server runs at {USUAL_URL}. Start one with `letta server`, name it with --url, or add --local."
        )
    return Where(None, settings)


def is_server(url: str) -> bool:
    """Whether a server of this API answers there."""
    try:
        answer = httpx.get(f"{url.rstrip('/')}/v1/health/", timeout=2, follow_redirects=True)
        return answer.status_code == 200 and "version" in answer.json()
    except (httpx.HTTPError, ValueError):
        return False


@contextmanager
def connected(where: Where) -> Iterator[Letta]:
    """A client of `where`. What goes wrong in the block ends the command with a message instead of a traceback."""
    try:
        with _client(where) as client:
            yield client
    except LettaError as error:
        terminal.fail(error.message)
    except letta_client.LettaError as error:
        terminal.fail(explain(error, where))


def _client(where: Where) -> Letta:
    if where.url is None:
        # What goes wrong is told by the command itself, once.
        logs.configure(
            where.settings.log_level if "log_level" in where.settings.model_fields_set else "CRITICAL", "text"
        )
        return Letta.local(**{name: getattr(where.settings, name) for name in where.settings.model_fields_set})
    key = os.environ.get("LETTA_API_KEY") or os.environ.get("LETTA_SERVER_PASSWORD")
    return Letta(base_url=where.url, api_key=key)


def explain(error: letta_client.LettaError, where: Where) -> str:
    """What went wrong, and what to do about it."""
    if isinstance(error, letta_client.AuthenticationError) and detail(error.body) == "Unauthorized":
        return f"{where} asks for a password: set LETTA_API_KEY to it."
    if isinstance(error, letta_client.APITimeoutError):
        return f"{where} does not answer in time."
    if isinstance(error, letta_client.APIConnectionError):
        return f"{where} cannot be reached. Does the server run? `letta server` starts one."
    if isinstance(error, letta_client.APIError):
        return detail(error.body) or error.message
    return str(error)


def detail(body: Any) -> str | None:
    """The sentence in an error answer of the API."""
    if not isinstance(body, dict):
        return None
    if isinstance(failure := body.get("error"), dict):
        return str(failure.get("message"))
    said = body.get("detail") or body.get("message")
    said = said.get("message") if isinstance(said, dict) else said
    return None if said is None else str(said).removeprefix("INVALID_ARGUMENT: ")


def settings_of(data_dir: Path | None, database_url: str | None = None) -> Settings:
    """The settings a command works with."""
    return terminal.read_settings(data_dir=data_dir, database_url=database_url)
