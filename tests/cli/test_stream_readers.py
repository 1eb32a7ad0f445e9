"""Readers of streams over real connections: one that takes nothing is dropped, one that leaves drops only itself."""

import socket
import time
from pathlib import Path

import httpx2
import orjson
from tests.cli.process import server

WORDS = "a " * 25_000


def made(http: httpx2.Client) -> str:
    agent_id: str = http.post("/v1/agents/", json={"model": "letta/scripted"}).json()["id"]
    return agent_id


def open_stream(url: str, path: str, body: object) -> socket.socket:
    """A connection that asked for a stream and has read nothing of it."""
    address = httpx2.URL(url)
    data = orjson.dumps(body)
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(30)
    connection.connect((address.host, address.port))
    head = f"POST {path} HTTP/1.1\r\nhost: {address.host}\r\ncontent-type: application/json\r\n"
    connection.sendall(f"{head}content-length: {len(data)}\r\n\r\n".encode() + data)
    return connection


def gone(connection: socket.socket) -> bool:
    """Whether the server's end of a connection is closed within half a minute though nothing is read."""
    client, server_end = (f":{address[1]:04X}" for address in (connection.getsockname(), connection.getpeername()))
    table, deadline = Path("/proc/net/tcp"), time.monotonic() + 30
    while table.exists() and time.monotonic() < deadline:
        ends = [line.split()[1:3] for line in table.read_text().splitlines()[1:]]
        if not any(here.endswith(server_end) and there.endswith(client) for here, there in ends):
            return True
        time.sleep(0.05)
    return not table.exists()


def rest(connection: socket.socket) -> bytes:
    """Everything that is still to be read, until the server closes the connection."""
    received = bytearray()
    try:
        while data := connection.recv(1 << 20):
            received += data
    except ConnectionResetError:
        pass
    return bytes(received)


def test_reader_that_takes_nothing_is_dropped_and_the_run_goes_on(tmp_path: Path) -> None:
    with (
        server(tmp_path, LETTA_STREAM_PATIENCE="0.5", LETTA_LOG_LEVEL="WARNING") as (url, process),
        httpx2.Client(base_url=url, timeout=60) as http,
    ):
        agent_id = made(http)
        said = f"!script {orjson.dumps([WORDS]).decode()}"
        body = {"input": said, "streaming": True, "stream_tokens": True, "background": True}
        with open_stream(url, f"/v1/agents/{agent_id}/messages", body) as connection:
            while "took nothing" not in (warned := process.until("")):
                pass
            assert gone(connection)
            got = rest(connection)
        deadline = time.monotonic() + 30
        while (run := http.get("/v1/runs/").json()[0])["status"] == "running":
            assert time.monotonic() < deadline, run
            time.sleep(0.05)
        numbers = [
            orjson.loads(line[6:])["seq_id"]
            for line in http.post(f"/v1/runs/{run['id']}/stream").text.split("\n")
            if '"assistant_message"' in line
        ]
    assert run["status"] == "completed", run
    assert "is dropped" in warned
    assert [line for line in process.printed if "ERROR" in line] == []
    assert b"[DONE]" not in got
    assert len(got) < 8_000_000
    assert numbers == list(range(1, 25_001))
