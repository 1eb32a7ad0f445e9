"""What `letta doctor` finds in the data folder, the database and the key, without a server. Changes nothing."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from letta.errors import LettaError
from letta.settings import Settings
from letta.store.inspection import State, look
from letta.store.lock import shown_url
from letta.store.query import now
from letta.store.vault import KEY_FILE, Vault, open_vault
from letta.tools.custom import CustomTools
from letta.tools.sandbox.choice import Choice

Outcome = Literal["ok", "warning", "problem"]

_GIB = 1024**3
_SPACE_PROBLEM = 0.1
_SPACE_WARNING = 1.0
"""Free GiB."""
_LATE = timedelta(minutes=1)
"""How long a running run's worker may be overdue."""
_LONG = timedelta(minutes=10)
"""How long a run may wait for its turn."""


@dataclass(frozen=True, slots=True)
class Check:
    """One finding: what was looked at, how it is, and what to do about it."""

    name: str
    outcome: Outcome
    found: str
    advice: str | None = None


def folder(settings: Settings) -> Iterator[Check]:
    """Can the data folder be written, and is there space?"""
    path = settings.data_dir.expanduser()
    existing = next(one for one in (path, *path.absolute().parents) if os.path.exists(one))
    try:
        # Rights say less: some file systems take no files from anybody.
        with tempfile.TemporaryFile(dir=existing):
            note = "" if existing == path else " (made at the first start)"
            yield Check("data folder", "ok", f"{path}{note}")
    except OSError as error:
        advice = "Give this user the right to write there, or choose another folder with --data-dir or LETTA_DIR."
        yield Check("data folder", "problem", f"{path} cannot be written: {error.strerror}", advice)
    free = shutil.disk_usage(existing).free / _GIB
    outcome: Outcome = "problem" if free < _SPACE_PROBLEM else "warning" if free < _SPACE_WARNING else "ok"
    yield Check("disk space", outcome, f"{free:.1f} GiB free", None if outcome == "ok" else "Make space on this disk.")


def database(settings: Settings) -> tuple[State | None, list[Check]]:
    """Does the database answer, and does its schema fit this version?"""
    try:
        shown = shown_url(settings.resolved_database_url)
        state = asyncio.run(look(settings.resolved_database_url))
    except LettaError as error:
        advice = "Is it running, and are address, user and password in LETTA_DATABASE_URL right?"
        return None, [Check("database", "problem", error.message, advice)]
    if state is None:
        return None, [Check("database", "ok", f"{shown} (made at the first start)")]
    if state.damage is not None:
        advice = "Stop the server, keep a copy of the file, and restore a backup (the .bak files beside it)."
        return state, [Check("database", "problem", f"{shown} is damaged: {state.damage}", advice)]
    if state.revision != state.expected:
        return state, [_schema(shown, state)]
    return state, [Check("database", "ok", f"{shown}, schema {state.revision}, {_count(state.agents, 'agent')}")]


def _schema(shown: str, state: State) -> Check:
    if state.revision is None:
        return Check("database", "ok", f"{shown} is empty (filled at the first start)")
    found = f"{shown} has schema {state.revision}, this version works with {state.expected}"
    if state.revision > state.expected:
        return Check("database", "problem", found, "Upgrade open-letta, or restore the backup made before the upgrade.")
    return Check("database", "warning", found, "The next start of `letta server` migrates it, after a backup.")


def key(settings: Settings, state: State | None) -> tuple[Vault | None, Check]:
    """Can stored keys be read?"""
    stored = list(state.providers) if state else []
    path = settings.data_dir.expanduser() / KEY_FILE
    passphrase = settings.encryption_key.get_secret_value() if settings.encryption_key else None
    source = "LETTA_ENCRYPTION_KEY" if passphrase else str(path)
    if not passphrase and not os.path.exists(path):
        if not any(one.secrets for one in stored):
            return None, Check("encryption key", "ok", f"{path} (made at the first start)")
        advice = "Restore the file from a backup, or set LETTA_ENCRYPTION_KEY to the key that was used."
        return None, Check("encryption key", "problem", f"{path} is missing, but secrets are stored", advice)
    try:
        vault = open_vault(settings.data_dir.expanduser(), passphrase)
        for one in stored:
            vault.open(one.secrets)
    except (OSError, ValueError) as error:
        return None, Check("encryption key", "problem", f"{source}: {error}", "Restore the file from a backup.")
    except LettaError as error:
        return None, Check("encryption key", "problem", error.message, "Use the key the secrets were stored with.")
    return vault, Check("encryption key", "ok", f"{source}, {_count(len(stored), 'stored provider')}")


def sandbox(settings: Settings) -> Check:
    """Can tools written in code be kept apart from this machine?"""
    choice = asyncio.run(_isolation(settings))
    if choice.kind in (None, "none"):
        return Check("tool sandbox", "warning", str(choice), "Install bubblewrap to run tools written in code safely.")
    return Check("tool sandbox", "ok", str(choice))


async def _isolation(settings: Settings) -> Choice:
    tools = CustomTools(settings, os.environ)
    try:
        return await tools.isolation()
    finally:
        await tools.aclose()


def runs(state: State | None, *, serving: bool) -> Check:
    """Are there runs that nobody works on?"""
    unfinished = state.unfinished if state else ()
    if not unfinished:
        return Check("runs", "ok", "none is unfinished")
    if not serving:
        found = f"{_count(len(unfinished), 'run')} unfinished"
        return Check("runs", "warning", found, "The next start of `letta server` goes on with them.")
    moment = now()
    stuck = [
        run.id
        for run in unfinished
        if (run.status == "running" and run.lease_until is not None and moment - run.lease_until > _LATE)
        or (run.status == "created" and moment - run.created_at > _LONG)
    ]
    if not stuck:
        return Check("runs", "ok", f"{_count(len(unfinished), 'run')} in progress, none is stuck")
    advice = (
        "Restart the server, which takes them up again, or cancel them: POST /v1/agents/{agent_id}/messages/cancel."
    )
    return Check("runs", "problem", f"stuck: {', '.join(stuck[:5])}{' ...' if len(stuck) > 5 else ''}", advice)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
