"""The `letta` command."""

import typer

from letta.cli.serve import server

app = typer.Typer(no_args_is_help=True, add_completion=False, help="A server for stateful agents.")
app.command("server")(server)


@app.callback()
def main() -> None:
    """A server for stateful agents."""
