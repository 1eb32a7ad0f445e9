"""`letta doctor`: look at everything, say what to do, and end with code 1 when something is wrong."""

import dataclasses
import json
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import letta_client
import typer
from rich.console import Console
from rich.markup import escape

from letta.cli import checks, terminal, trials
from letta.cli.checks import Check
from letta.cli.connect import Where, connected, explain, find, settings_of
from letta.client import Letta
from letta.settings import Settings
from letta.store.inspection import State
from letta.store.vault import Vault

_SIGNS = {"ok": "[green]ok     [/]", "warning": "[yellow]warning[/]", "problem": "[red]problem[/]"}


def doctor(
    *,
    url: str | None,
    data_dir: Path | None,
    database_url: str | None,
    calls: bool,
    models: Sequence[str],
    as_json: bool,
) -> None:
    """Print every finding as it is made."""
    settings = settings_of(data_dir, database_url)
    findings = _all(url, settings, calls, models)
    if as_json:
        found = list(findings)
        typer.echo(json.dumps({"ok": _well(found), "checks": [dataclasses.asdict(one) for one in found]}, indent=2))
    else:
        found = list(_printed(terminal.stdout(), findings))
    if not _well(found):
        raise typer.Exit(1)


def _well(found: Sequence[Check]) -> bool:
    return all(one.outcome != "problem" for one in found)


def _printed(console: Console, findings: Iterable[Check]) -> Iterator[Check]:
    for one in findings:
        console.print(f"{_SIGNS[one.outcome]}  [bold]{escape(one.name)}[/]: {escape(one.found)}")
        if one.advice:
            console.print(f"         {escape(one.advice)}")
        yield one


def _all(url: str | None, settings: Settings, calls: bool, models: Sequence[str]) -> Iterator[Check]:
    """A server named by its address has its data somewhere else, so only what its API shows is looked at."""
    where = find(url, settings)
    state, vault = None, None
    if url is None:
        yield from checks.folder(settings)
        state, found = checks.database(settings)
        yield from found
        vault, secret = checks.key(settings, state)
        yield secret
        yield checks.runs(state, serving=where.url is not None)
        yield checks.sandbox(settings)
    if where.url is not None:
        yield from _over_http(where, calls, models)
    else:
        yield Check("server", "ok", "none runs for this data folder; the checks below start one for themselves")
        yield from _by_itself(state, vault, calls, models)


def _over_http(where: Where, calls: bool, models: Sequence[str]) -> Iterator[Check]:
    with connected(where) as client:
        try:
            version = client.health().version
            client.get("/v1/ready", cast_to=object)
        except letta_client.APIError as error:
            yield Check("server", "problem", explain(error, where), "See the server's log.")
            return
        yield Check("server", "ok", f"{where.url}, version {version}, its database answers")
        yield from trials.providers(client, calls=calls, models=models)


def _by_itself(state: State | None, vault: Vault | None, calls: bool, models: Sequence[str]) -> Iterator[Check]:
    """Try the providers with a server of its own, in a folder that is thrown away: the real one must not start runs."""
    with tempfile.TemporaryDirectory(prefix="letta-doctor-") as folder:
        settings = Settings(
            data_dir=Path(folder),
            database_url=f"sqlite:///{folder}/letta.db",
            encryption_key=None,
            # The trials are about the real models.
            scripted_models=False,
        )
        with connected(Where(None, settings)) as client:
            if state is not None and vault is not None:
                _bring_providers(client, state, vault)
            yield from trials.providers(client, calls=calls, models=models)


def _bring_providers(client: Letta, state: State, vault: Vault) -> None:
    """Give the throw-away server the providers that are stored in the real one."""
    for stored in state.providers:
        shown = stored.shown.model_dump(
            mode="json", include={"name", "provider_type", "base_url", "region", "api_version"}
        )
        client.post("/v1/providers/", body={**shown, **vault.open(stored.secrets)}, cast_to=object)
