"""`letta server` as a person meets it: a process that says where it is, keeps what it was told, and stops in order."""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from tests.cli.process import PATIENCE, Process, letta, server, surroundings

from letta.client import Letta


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that another program listens on."""
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        yield other.getsockname()[1]


def test_everything_is_still_there_after_a_restart(tmp_path: Path) -> None:
    with server(tmp_path) as (url, process):
        with Letta(base_url=url) as client:
            agent = client.agents.create(
                name="Keeper", model="openai/gpt-4", memory_blocks=[{"label": "human", "value": ""}]
            )
            client.agents.messages.create(agent.id, input="My name is Alice.")
            before = [message.model_dump() for message in client.agents.messages.list(agent.id)]
            stored = client.agents.retrieve(agent.id)
        process.running.send_signal(signal.SIGTERM)
        assert process.end() == 0
        assert process.printed[-1] == "Stopped."
    with server(tmp_path) as (url, _), Letta(base_url=url) as client:
        assert client.agents.get("Keeper").model_dump() == stored.model_dump()
        assert stored.blocks[0].value == "Name: Alice"
        assert [message.model_dump() for message in client.agents.messages.list(agent.id)] == before
        answer = client.agents.messages.create(agent.id, input="What is my name?")
        assert "Alice" in str(answer.messages[-1])


def test_it_says_where_it_is_and_what_is_missing(tmp_path: Path) -> None:
    with server(tmp_path, OPENAI_API_KEY="sk-none", OPENAI_BASE_URL="http://127.0.0.1:9/v1") as (url, process):
        process.until("  Models")
        shown = "\n".join(process.printed)
        assert "\x1b" not in shown
        assert f"Data      {tmp_path / 'data'}\n" in shown
        assert f"Database  sqlite:///{tmp_path / 'data' / 'letta.db'}\n" in shown
        assert "Password  none" in shown
        assert "Providers openai, letta (built in)\n" in shown
        assert f"API docs  {url}/docs\n" in shown
        assert "sk-none" not in shown
        # Nothing listens at port 9: that it cannot be listed is said, too.
        assert process.printed[-1].startswith("  Models    openai: ")


def test_without_a_provider_it_says_how_to_get_one(tmp_path: Path) -> None:
    with server(tmp_path) as (_, process):
        assert any(line.startswith("  Missing   No model provider is configured") for line in process.printed)


def test_a_public_address_without_a_password_is_refused(tmp_path: Path) -> None:
    refused = letta(tmp_path, "server", "--host", "0.0.0.0", "--port", "0")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "LETTA_SERVER_PASSWORD" in refused.stderr
    assert not (tmp_path / "data").exists()


def test_an_empty_password_counts_as_none(tmp_path: Path) -> None:
    assert letta(tmp_path, "server", "--host", "0.0.0.0", "--port", "0", LETTA_SERVER_PASSWORD="").returncode == 2


def test_a_public_address_with_a_password_asks_for_it(tmp_path: Path) -> None:
    with server(tmp_path, "--host", "0.0.0.0", LETTA_SERVER_PASSWORD="sesame") as (url, process):
        assert "  Password  required" in process.printed
        assert httpx.get(f"{url}/v1/agents/").status_code == 401
        assert httpx.get(f"{url}/v1/agents/", headers={"Authorization": "Bearer sesame"}).json() == []
        with Letta(base_url=url, token="sesame") as client:
            assert client.agents.list().items == []


def test_a_public_address_can_be_insisted_on(tmp_path: Path) -> None:
    with server(tmp_path, "--host", "0.0.0.0", "--insecure") as (url, _):
        assert httpx.get(f"{url}/v1/agents/").json() == []


def test_a_taken_port_is_explained(tmp_path: Path, taken: int) -> None:
    refused = letta(tmp_path, "server", "--port", str(taken))
    assert (refused.returncode, refused.stdout) == (1, "")
    assert f"port {taken} of 127.0.0.1 is in use by another program." in refused.stderr
    assert "--port" in refused.stderr


def test_a_second_server_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    with server(tmp_path) as (url, process):
        refused = letta(tmp_path, "server", "--port", "0")
        assert refused.returncode == 1
        assert f"in use by the server at {url} (process {process.running.pid})" in refused.stderr
        assert "Traceback" not in refused.stderr
        assert httpx.get(f"{url}/v1/health/").status_code == 200


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--log-level", "LOUD"], "log_level"),
        (["--port", "70000"], "port"),
        (["--host", "no.such.host.invalid"], "not known"),
        (["--database-url", "mysql://localhost/x", "--port", "0"], "sqlite:/// or postgresql://"),
        (["--database-url", "secret stuff", "--port", "0"], "sqlite:/// or postgresql://"),
    ],
)
def test_options_that_cannot_be_used_are_explained(tmp_path: Path, arguments: list[str], said: str) -> None:
    refused = letta(tmp_path, "server", *arguments, "--insecure")
    assert refused.returncode in (1, 2)
    assert said in refused.stderr
    assert "Traceback" not in refused.stderr
    assert "secret stuff" not in refused.stderr


def test_stopping_parks_a_run_ends_its_stream_and_the_next_start_finishes_it(tmp_path: Path) -> None:
    with server(tmp_path, LETTA_SCRIPTED_LATENCY="50", LETTA_SHUTDOWN_GRACE="0") as (url, process):
        with Letta(base_url=url) as client:
            agent = client.agents.create(name="Slow", model="openai/gpt-4")
            body = {"input": "hello", "streaming": True}
            with httpx.stream("POST", f"{url}/v1/agents/{agent.id}/messages", json=body, timeout=PATIENCE) as answer:
                lines = answer.iter_lines()
                assert '"ping"' in next(lines)
                process.running.send_signal(signal.SIGTERM)
                assert [line for line in lines if line][-1] == "data: [DONE]"
        assert process.end() == 0
    with server(tmp_path) as (url, _), Letta(base_url=url) as client:
        deadline = time.monotonic() + PATIENCE
        [run] = client.runs.list(agent_id=agent.id).items
        while run.status not in ("completed", "failed", "cancelled") and time.monotonic() < deadline:
            run = client.runs.retrieve(run.id)
        assert run.status == "completed"
        said = [message.message_type for message in client.agents.messages.list(agent.id, order="asc")]
        assert said == ["system_message", "user_message", "assistant_message"]


def test_a_second_signal_stops_at_once(tmp_path: Path) -> None:
    with server(tmp_path, LETTA_SCRIPTED_LATENCY="50", LETTA_SHUTDOWN_GRACE="50") as (url, process):
        with Letta(base_url=url) as client:
            agent = client.agents.create(name="Slow", model="openai/gpt-4")
            client.agents.messages.create_async(agent.id, input="hello")
        process.running.send_signal(signal.SIGINT)
        process.until("Stopping")
        code = None
        while code is None:
            process.running.send_signal(signal.SIGINT)
            try:
                code = process.running.wait(0.2)
            except subprocess.TimeoutExpired:
                continue
        assert code == 130
        process.end()
        assert process.printed[-1].startswith("Stopped at once")


def test_ipv6_is_served_where_the_machine_has_it(tmp_path: Path) -> None:
    with server(tmp_path) as (url, _):
        port = int(url.rpartition(":")[2])
        assert httpx.get(f"http://127.0.0.1:{port}/v1/health/").status_code == 200
        names = {address[0] for *_, address in socket.getaddrinfo("localhost", port, type=socket.SOCK_STREAM)}
        if "::1" in names:
            assert httpx.get(f"http://[::1]:{port}/v1/health/").status_code == 200


def test_the_server_does_not_load_the_client(tmp_path: Path) -> None:
    loaded = "import sys, letta.cli.serve, letta; print('letta_client' in sys.modules, 'letta.client' in sys.modules)"
    environment = surroundings(tmp_path)
    shown = subprocess.run([sys.executable, "-c", loaded], env=environment, capture_output=True, text=True, check=True)
    assert shown.stdout == "False False\n"


def test_the_version_is_printed(tmp_path: Path) -> None:
    shown = Process(["--version"], surroundings(tmp_path))
    assert shown.until("letta ").count(".") == 2
    assert shown.end() == 0


def test_website_that_points_its_name_at_this_machine_is_refused(tmp_path: Path) -> None:
    with server(tmp_path) as (url, _):
        port = url.rpartition(":")[2]
        answers = {
            host: httpx.get(f"{url}/v1/agents/", headers={"Host": host}).status_code
            for host in (f"localhost:{port}", f"127.0.0.1:{port}", f"[::1]:{port}", f"evil.example:{port}")
        }
    assert list(answers.values()) == [200, 200, 200, 403]


def test_password_makes_every_name_good(tmp_path: Path) -> None:
    with server(tmp_path, LETTA_SERVER_PASSWORD="secret") as (url, _):
        headers = {"Host": "agents.example", "Authorization": "Bearer secret"}
        answer = httpx.get(f"{url}/v1/agents/", headers=headers)
    assert answer.status_code == 200


def test_a_data_folder_that_cannot_be_used_is_one_line_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder, why in (
        (tmp_path / "file", "File exists"),
        (tmp_path / "file" / "below", "Not a directory"),
        (Path("/proc/nope"), "No such file or directory"),
    ):
        for command in (["server", "--port", "0"], ["agents", "list"]):
            done = letta(tmp_path, *command, "--data-dir", str(folder))
            assert (done.returncode, done.stdout) == (1, "")
            assert done.stderr.startswith(f"Error: the data folder {folder} cannot be used: {why}")
            assert done.stderr.endswith("choose another folder with --data-dir or LETTA_DIR.\n")
            assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("content", [b"notes, not a database " * 100, None], ids=["text", "folder"])
def test_a_database_file_that_is_none_is_one_line_with_a_remedy(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "data" / "letta.db"
    path.parent.mkdir()
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    done = letta(tmp_path, "server", "--port", "0")
    assert (done.returncode, done.stdout) == (1, "")
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"Error: {path} cannot be opened as a SQLite database: ")
    assert "choose another data folder" in last
    assert "Traceback" not in done.stderr
    doctor = letta(tmp_path, "doctor", "--no-calls")
    assert doctor.returncode == 1
    assert "problem  database: " in doctor.stdout
    assert "Traceback" not in doctor.stderr


def test_a_key_file_without_a_key_is_one_line_with_a_remedy(tmp_path: Path) -> None:
    path = tmp_path / "data" / "secret.key"
    path.parent.mkdir()
    path.write_text("no key")
    done = letta(tmp_path, "server", "--port", "0")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1].startswith(f"Error: {path} holds no key: restore the file")
