"""`letta agents`: list, create, show and delete."""

import json
import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import typer
from letta_client.types import AgentState
from rich import box
from rich.markup import escape
from rich.table import Table

from letta.cli import terminal
from letta.cli.connect import Where, connected, find, settings_of


def show_all(
    *, name: str | None, limit: int, url: str | None, data_dir: Path | None, local: bool, as_json: bool
) -> None:
    """Print agents, the newest first."""
    with connected(_where(url, data_dir, local)) as client:
        wanted = (
            client.agents.list(name=name, limit=min(limit, 100)) if name else client.agents.list(limit=min(limit, 100))
        )
        found = list(islice(wanted, limit))
    if as_json:
        _print_json([agent.model_dump(mode="json") for agent in found])
    elif found:
        terminal.stdout().print(table(found))
    else:
        terminal.stdout().print("There are no agents yet. Make one with `letta agents create NAME`.")


def create(
    *,
    name: str | None,
    model: str | None,
    embedding: str | None,
    persona: str,
    human: str,
    tags: list[str],
    url: str | None,
    data_dir: Path | None,
    local: bool,
    as_json: bool,
) -> None:
    """Make an agent and print it."""
    chosen = {"name": name, "model": model, "embedding": embedding, "tags": tags or None}
    given: Any = {key: value for key, value in chosen.items() if value is not None}
    blocks: Any = [{"label": "persona", "value": persona}, {"label": "human", "value": human}]
    with connected(_where(url, data_dir, local)) as client:
        agent = client.agents.create(memory_blocks=blocks, **given)
    if as_json:
        _print_json(agent.model_dump(mode="json"))
    else:
        terminal.stdout().print(f"Made {escape(agent.name)} ({agent.id}), answered by {escape(agent.model or '?')}.")


def show(*, agent: str, url: str | None, data_dir: Path | None, local: bool, as_json: bool) -> None:
    """Print one agent, its memory and its tools."""
    with connected(_where(url, data_dir, local)) as client:
        found = client.agents.get(agent)
    if as_json:
        _print_json(found.model_dump(mode="json"))
        return
    console = terminal.stdout()
    for label, value in (
        ("Name", found.name),
        ("Id", found.id),
        ("Model", found.model or "?"),
        ("Type", str(found.agent_type)),
        ("Made", _moment(found)),
        ("Tags", ", ".join(found.tags or ())),
        ("Tools", ", ".join(tool.name or "?" for tool in found.tools or ())),
    ):
        console.print(f"[dim]{label:<7}[/]{escape(value)}")
    for block in found.blocks or ():
        console.print(f"\n[bold]{escape(block.label or '?')}[/] [dim]{len(block.value)} of {block.limit} characters[/]")
        console.print(escape(block.value) or "[dim](empty)[/]")


def delete(*, agent: str, yes: bool, url: str | None, data_dir: Path | None, local: bool, as_json: bool) -> None:
    """Delete an agent, after asking."""
    with connected(_where(url, data_dir, local)) as client:
        found = client.agents.get(agent)
        if not yes:
            if not sys.stdin.isatty():
                terminal.fail("Deleting cannot be undone: add --yes.", 2)
            typer.confirm(f"Delete {found.name} ({found.id}) with everything it was told?", abort=True)
        client.agents.delete(found.id)
    if as_json:
        _print_json({"deleted": found.id})
    else:
        terminal.stdout().print(f"Deleted {escape(found.name)} ({found.id}).")


def table(agents: Sequence[AgentState]) -> Table:
    """Agents as a table, one a line."""
    made = Table(box=box.SIMPLE, pad_edge=False)
    for heading in ("Name", "Id", "Model", "Made"):
        made.add_column(heading, no_wrap=heading == "Id", overflow="fold")
    for agent in agents:
        made.add_row(escape(agent.name), agent.id, escape(agent.model or "?"), _moment(agent))
    return made


def _moment(agent: AgentState) -> str:
    return agent.created_at.strftime("%Y-%m-%d %H:%M") if agent.created_at else ""


def _where(url: str | None, data_dir: Path | None, local: bool) -> Where:
    return find(url, settings_of(data_dir), local=local)


def _print_json(value: object) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))
