"""The `letta` command: what can be typed. The work is done elsewhere, see `letta.cli.lazy`."""

from pathlib import Path
from typing import Annotated

import typer

from letta.cli.lazy import run
from letta.version import __version__

DataDir = Annotated[Path | None, typer.Option(help="Folder of the database and the key [default: ~/.letta-server].")]
DatabaseUrl = Annotated[
    str | None, typer.Option(help="postgresql://... or sqlite:///... [default: a file in the data folder].")
]
Url = Annotated[str | None, typer.Option(help="Address of a running server [default: the one of this data folder].")]
Local = Annotated[bool, typer.Option("--local", help="Work in this process, without a server.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Agent = Annotated[str, typer.Argument(help="Id or name of the agent.")]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="A server for stateful agents.",
)
agents = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="List, create, show and delete agents.")
app.add_typer(agents, name="agents")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"letta {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """A server for stateful agents."""


@app.command()
def server(
    host: Annotated[str | None, typer.Option(help="Address to listen on [default: localhost].")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one [default: 8283].")] = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Listen on a public address without a password.")
    ] = False,
    execute: Annotated[
        bool | None,
        typer.Option("--execute/--no-execute", help="Work on runs here, or leave them to workers [default: execute]."),
    ] = None,
    log_level: Annotated[str | None, typer.Option(help="DEBUG, INFO, WARNING or ERROR [default: INFO].")] = None,
    log_format: Annotated[
        str | None, typer.Option(help="text, or json for one object per line [default: text].")
    ] = None,
) -> None:
    """Start the server.

    Every option can also be set in the environment: LETTA_HOST, LETTA_PORT, LETTA_DIR, LETTA_DATABASE_URL and so on.
    Clients need the password of LETTA_SERVER_PASSWORD, if there is one.
    """
    run(
        "server",
        host=host,
        port=port,
        data_dir=data_dir,
        database_url=database_url,
        insecure=insecure or None,
        execute=execute,
        log_level=log_level,
        log_format=log_format,
    )


@app.command()
def worker(
    database_url: Annotated[str | None, typer.Option(help="postgresql://... of the servers to work for.")] = None,
    slots: Annotated[int | None, typer.Option(min=1, help="Runs to work on at once [default: 64].")] = None,
    host: Annotated[str | None, typer.Option(help="Address of the port below [default: localhost].")] = None,
    port: Annotated[
        int | None, typer.Option(help="Answer /v1/health, /v1/ready and /metrics there; 0 takes a free one.")
    ] = None,
    data_dir: DataDir = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Listen on a public address without a password.")
    ] = False,
    log_level: Annotated[str | None, typer.Option(help="DEBUG, INFO, WARNING or ERROR [default: INFO].")] = None,
    log_format: Annotated[
        str | None, typer.Option(help="text, or json for one object per line [default: text].")
    ] = None,
) -> None:
    """Work on the runs that servers on the same PostgreSQL accept.

    Start as many as there is work for; none of them has to know of the others. Servers started with --no-execute leave
    all runs to workers.
    """
    run(
        "worker",
        database_url=database_url,
        queue_slots=slots,
        host=host,
        port=port,
        data_dir=data_dir,
        insecure=insecure or None,
        log_level=log_level,
        log_format=log_format,
    )


@app.command()
def chat(
    agent: Annotated[str | None, typer.Argument(help="Id or name of the agent; without it you choose.")] = None,
    model: Annotated[
        str | None, typer.Option(help="Model of an agent made here, for example openai/gpt-4o-mini.")
    ] = None,
    url: Url = None,
    data_dir: DataDir = None,
    local: Local = False,
) -> None:
    """Talk to an agent. /help lists what else can be typed.

    Ctrl-C stops an answer, Ctrl-D leaves. Lines can also be piped in. A server's password is taken from LETTA_API_KEY
    or LETTA_SERVER_PASSWORD.
    """
    run("chat", agent=agent, model=model, url=url, data_dir=data_dir, local=local)


@app.command()
def doctor(
    url: Url = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    calls: Annotated[
        bool, typer.Option("--calls/--no-calls", help="Ask a model of each provider to chat and to call a tool.")
    ] = True,
    model: Annotated[
        list[str] | None, typer.Option(help="Try this model instead of one per provider; repeatable.")
    ] = None,
    json: Json = False,
) -> None:
    """Check the data folder, the database, the key, every provider and unfinished runs, and say what to do.

    Works with and without a running server. The exit code is 1 when something is wrong. Trying a provider makes two
    short calls to one of its models, which may cost a fraction of a cent.
    """
    run("doctor", url=url, data_dir=data_dir, database_url=database_url, calls=calls, models=model or [], as_json=json)


@agents.command("list")
def list_agents(
    name: Annotated[str | None, typer.Option(help="Only agents of this name.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 100,
    url: Url = None,
    data_dir: DataDir = None,
    local: Local = False,
    json: Json = False,
) -> None:
    """List agents, the newest first."""
    run("agents list", name=name, limit=limit, url=url, data_dir=data_dir, local=local, as_json=json)


@agents.command("create")
def create_agent(
    name: Annotated[str | None, typer.Argument(help="Name of the new agent [default: one is made up].")] = None,
    model: Annotated[
        str | None, typer.Option(help="Model, for example openai/gpt-4o-mini [default: the server's].")
    ] = None,
    embedding: Annotated[str | None, typer.Option(help="Embedding model.")] = None,
    persona: Annotated[str, typer.Option(help="Who the agent is: the value of its block `persona`.")] = "",
    human: Annotated[str, typer.Option(help="Whom it talks to: the value of its block `human`.")] = "",
    tag: Annotated[list[str] | None, typer.Option(help="A tag; repeatable.")] = None,
    url: Url = None,
    data_dir: DataDir = None,
    local: Local = False,
    json: Json = False,
) -> None:
    """Create an agent with the memory blocks `persona` and `human`."""
    run(
        "agents create",
        name=name,
        model=model,
        embedding=embedding,
        persona=persona,
        human=human,
        tags=tag or [],
        url=url,
        data_dir=data_dir,
        local=local,
        as_json=json,
    )


@agents.command("show")
def show_agent(
    agent: Agent, url: Url = None, data_dir: DataDir = None, local: Local = False, json: Json = False
) -> None:
    """Show an agent with its memory and its tools."""
    run("agents show", agent=agent, url=url, data_dir=data_dir, local=local, as_json=json)


@agents.command("delete")
def delete_agent(
    agent: Agent,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    url: Url = None,
    data_dir: DataDir = None,
    local: Local = False,
    json: Json = False,
) -> None:
    """Delete an agent with its conversations, messages and runs. Its memory blocks stay."""
    run("agents delete", agent=agent, yes=yes, url=url, data_dir=data_dir, local=local, as_json=json)
