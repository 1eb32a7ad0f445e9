"""A PostgreSQL that can be cut off, and the tools of the tests about messages that arrive."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
from tests.arrival.conftest import postgres_url, two_servers

__all__ = ["postgres_url", "two_servers"]


class Cable:
    """The `url` of a database, whose TCP address leads to its unix socket as long as it is not cut."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._whole = True
        self._silent: set[asyncio.StreamWriter] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self.url = ""

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"postgresql://postgres@127.0.0.1:{port}/postgres"

    async def close(self) -> None:
        self.cut()
        assert self._server is not None
        self._server.close()

    def cut(self) -> None:
        """End every connection, and let no new one through."""
        self._whole = False
        for writer in self._writers:
            writer.transport.abort()

    def mend(self) -> None:
        self._whole = True

    def silence(self) -> None:
        """Let nothing more through on the connections there are, and tell neither end; new ones work."""
        self._silent |= self._writers

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._whole:
            writer.transport.abort()
            return
        behind, ahead = await asyncio.open_unix_connection(str(self._socket))
        self._writers |= {writer, ahead}
        await asyncio.gather(self._pass_on(reader, ahead), self._pass_on(behind, writer))
        self._writers -= {writer, ahead}

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                if writer not in self._silent:
                    writer.write(data)
                    await writer.drain()
        writer.close()


@pytest.fixture
async def cable(postgres_url: str) -> AsyncIterator[Cable]:
    """A cable to the PostgreSQL of the session."""
    folder = postgres_url.partition("host=")[2]
    made = Cable(Path(folder) / ".s.PGSQL.5432")
    await made.open()
    yield made
    await made.close()
