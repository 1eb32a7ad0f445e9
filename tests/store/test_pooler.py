"""A real PgBouncer in transaction mode before PostgreSQL: fewer connections there than are used here."""

import asyncio
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, text
from tests.serving import serve
from tests.store.seeds import an_agent

from letta.store import agents
from letta.store.access import Connections, Database
from letta.store.database import open_database
from letta.store.tables import metadata

CONFIGURATION = """\
[databases]
postgres = host={folder} dbname=postgres user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 3
logfile = {home}/log
pidfile = {home}/pid
"""


def program() -> str:
    """Where PgBouncer is; Debian keeps it where only root looks."""
    found = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin")
    if found is None:
        pytest.skip("pgbouncer is not installed; `.ci/run` installs it")
    return found


@pytest.fixture
def pooled_url(postgres_url: str, tmp_path: Path) -> Iterator[str]:
    """The test's PostgreSQL through a pooler."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    # Not below pytest's folder, which only its owner can enter: neither of the two runs as root.
    folder = Path(postgres_url.partition("host=")[2])
    home = folder.parent / f"pgbouncer-{port}"
    home.mkdir()
    settings = home / "pgbouncer.ini"
    settings.write_text(CONFIGURATION.format(folder=folder, port=port, home=home))
    command = [program(), str(settings)]
    if os.geteuid() == 0:
        os.chown(home, folder.stat().st_uid, -1)
        command[1:1] = ["-u", folder.owner()]
    with subprocess.Popen([*command, "-q"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            _until_it_listens(port, process, home / "log")
            yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
        finally:
            process.kill()


def _until_it_listens(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise AssertionError(log.read_text() if log.exists() else "it did not start")


def _empty(connection: Connection) -> None:
    for table in reversed(metadata.sorted_tables):
        connection.execute(table.delete())


def _renamed(connection: Connection, agent_id: str, name: str) -> str:
    agents.change(connection, agent_id, {"name": name})
    connection.execute(text("SELECT pg_sleep(0.005)"))
    return str(connection.execute(text("SELECT name FROM agents WHERE id = :id"), {"id": agent_id}).scalar_one())


async def test_more_transactions_than_connections_of_the_database_get_their_own_answers(pooled_url: str) -> None:
    database: Database = await open_database(pooled_url, pool=10, pooler=True)
    try:
        await database.write(_empty)
        ids = [await database.write(an_agent) for _ in range(20)]
        names = await asyncio.gather(*(database.write(_renamed, one, f"name of {one}") for one in ids))
        found = await asyncio.gather(*(database.read(agents.get, one, ()) for one in ids * 3))
        unused = database.connections()
    finally:
        await database.close()
    assert names == [f"name of {one}" for one in ids]
    assert [one.name for one in found] == names * 3
    assert unused == Connections(0, 20)


async def test_nothing_is_left_behind_on_connections_that_others_use(pooled_url: str, postgres_url: str) -> None:
    database: Database = await open_database(pooled_url, pool=4, pooler=True)
    try:
        agent_id = await database.write(an_agent)
        await asyncio.gather(*(database.read(agents.get, agent_id, ()) for _ in range(30)))
        left = await asyncio.gather(*(database.read(_prepared) for _ in range(6)))
    finally:
        await database.close()
    assert set(left) == {0}


def _prepared(connection: Connection) -> int:
    return int(connection.execute(text("SELECT count(*) FROM pg_prepared_statements WHERE name <> ''")).scalar_one())


async def test_two_servers_work_through_a_pooler(tmp_path: Path, pooled_url: str, postgres_url: str) -> None:
    settings: dict[str, Any] = {
        "database_url": pooled_url,
        "database_pooler": True,
        "notify_url": postgres_url,
        "encryption_key": "one for all",
    }
    async with serve(tmp_path / "a", **settings) as here, serve(tmp_path / "b", **settings) as there:
        made = [await here.agent() for _ in range(6)]
        answers = await asyncio.gather(
            *(
                served.send(agent["id"], f"Hello {turn}")
                for turn in range(3)
                for served in (here, there)
                for agent in made
            )
        )
        runs = (await there.http.get("/v1/runs", params={"limit": 100})).json()
    assert [answer["stop_reason"]["stop_reason"] for answer in answers] == ["end_turn"] * 36
    assert sorted(run["status"] for run in runs if run["agent_id"] in {agent["id"] for agent in made}) == (
        ["completed"] * 36
    )
