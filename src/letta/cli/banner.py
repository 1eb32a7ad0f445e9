"""What `letta server` says about itself: where it is, where its data is, who answers, what is missing."""

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.markup import escape

from letta.models.registry import ProviderStatus
from letta.settings import Settings
from letta.store.lock import shown_url
from letta.version import __version__

READY = "Ready at"
"""The line that begins with this is printed once the server listens."""


def announce(console: Console, settings: Settings, url: str, providers: Sequence[str], hints: Iterable[str]) -> None:
    """Say where everything is; the last line says that the server is ready."""
    password = "required" if has_password(settings) else "none: whoever reaches the port is trusted"
    rows = {
        "Data": str(settings.data_dir.expanduser().resolve()),
        "Database": shown_url(settings.resolved_database_url),
        "Password": password,
        "Providers": ", ".join([*providers, "letta (built in)"]),
        "API docs": f"{url}/docs",
    }
    console.print(f"[bold]open-letta {__version__}[/]")
    for name, value in rows.items():
        console.print(f"  [dim]{name:<10}[/]{escape(value)}")
    if settings.scripted_models:
        note = "LETTA_SCRIPTED_MODELS is set: the built-in rule-based model answers for every model"
        console.print(f"  [yellow]Note      [/]{note}")
    for hint in hints:
        console.print(f"  [yellow]Missing   [/]{escape(hint)}")
    console.print(f"[green]{READY}[/] {escape(url)}")


def report_models(console: Console, found: Sequence[ProviderStatus]) -> None:
    """Say how many models each provider lists, and which one does not answer."""
    for provider in found:
        if provider.ok:
            console.print(f"  [dim]{'Models':<10}[/]{escape(provider.name)}: {provider.models}")
        elif provider.error:
            console.print(f"  [yellow]{'Models':<10}[/]{escape(provider.name)}: {escape(provider.error)}")


def has_password(settings: Settings) -> bool:
    return settings.server_password is not None and bool(settings.server_password.get_secret_value())
