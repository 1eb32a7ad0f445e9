"""`letta server`: start the server and say what a person needs to know."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer
import uvicorn

from letta import log
from letta.app import behind_gateway, create_app
from letta.settings import Settings

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def server(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Folder of the database and the key.")] = None,
    database_url: Annotated[str | None, typer.Option(help="postgresql://... or sqlite:///...")] = None,
    insecure: Annotated[bool, typer.Option(help="Listen on a public address without a password.")] = False,
) -> None:
    """Start the server."""
    given: dict[str, Any] = {"host": host, "port": port, "data_dir": data_dir, "database_url": database_url}
    chosen = {name: value for name, value in given.items() if value is not None}
    settings = Settings(**chosen, **({"insecure": True} if insecure else {}))
    log.configure(settings.log_level, settings.log_format)
    application = behind_gateway(create_app(settings, os.environ), settings)
    uvicorn.run(application, host=settings.host, port=settings.port, log_level="warning", access_log=False)
