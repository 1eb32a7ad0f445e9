"""`letta worker`: servers that only accept, workers that only execute, on one PostgreSQL."""

import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.cli.process import PATIENCE, Process, letta, server, surroundings
from tests.store.conftest import postgres_url

__all__ = ["postgres_url"]

KEY = "one key for all"


@contextmanager
def worker(folder: Path, url: str, *arguments: str, **environment: str) -> Iterator[Process]:
    """`letta worker` on a database, stopped at the end."""
    environment = {"LETTA_ENCRYPTION_KEY": KEY, **environment}
    process = Process(["worker", "--database-url", url, *arguments], surroundings(folder, **environment))
    try:
        process.until("Working on runs of")
        yield process
    finally:
        if process.running.poll() is None:
            process.running.terminate()
            process.end()


@pytest.fixture
def accepting(tmp_path: Path, postgres_url: str) -> Iterator[httpx.Client]:
    """A server that does not execute."""
    options = ("--database-url", postgres_url, "--no-execute")
    with (
        server(tmp_path / "server", *options, LETTA_ENCRYPTION_KEY=KEY) as (url, _),
        httpx.Client(base_url=url, timeout=PATIENCE) as client,
    ):
        yield client


def an_agent(client: httpx.Client) -> str:
    return str(client.post("/v1/agents", json={"model": "letta/scripted"}).json()["id"])


def until_run(client: httpx.Client, run_id: str, *statuses: str) -> dict[str, Any]:
    """The run, when it has one of the statuses."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        run: dict[str, Any] = client.get(f"/v1/runs/{run_id}").json()
        if run["status"] in statuses:
            return run
        time.sleep(0.02)
    raise AssertionError(f"run {run_id} is {run['status']}")


def test_what_a_server_accepts_waits_for_a_worker_and_is_answered_by_the_server(
    tmp_path: Path, postgres_url: str, accepting: httpx.Client
) -> None:
    agent_id = an_agent(accepting)
    waiting = accepting.post(f"/v1/agents/{agent_id}/messages/async", json={"input": "I am Ada."}).json()
    assert accepting.get(f"/v1/runs/{waiting['id']}").json()["status"] == "created"
    with worker(tmp_path / "worker", postgres_url):
        until_run(accepting, waiting["id"], "completed")
        started = time.monotonic()
        said = accepting.post(f"/v1/agents/{agent_id}/messages", json={"input": "Hello."}).json()
        took = time.monotonic() - started
        with accepting.stream(
            "POST", f"/v1/agents/{agent_id}/messages", json={"input": "What is my name?", "streaming": True}
        ) as answer:
            frames = [line.removeprefix("data: ") for line in answer.iter_lines() if line]
    assert [message["message_type"] for message in said["messages"]][-1] == "assistant_message"
    assert said["stop_reason"]["stop_reason"] == "end_turn"
    assert frames[-1] == "[DONE]"
    kinds = [json.loads(one)["message_type"] for one in frames[:-1]]
    assert [kind for kind in kinds if kind != "ping"][-3:] == ["assistant_message", "stop_reason", "usage_statistics"]
    # Taken at once, or at the next look: nothing that a person would notice.
    assert took < PATIENCE / 10


def test_a_killed_worker_is_replaced_by_another(tmp_path: Path, postgres_url: str, accepting: httpx.Client) -> None:
    agent_id = an_agent(accepting)
    with worker(tmp_path / "one", postgres_url, LETTA_SCRIPTED_LATENCY="30") as first:
        run = accepting.post(f"/v1/agents/{agent_id}/messages/async", json={"input": "Hello."}).json()
        until_run(accepting, run["id"], "running")
        first.running.kill()
        first.end()
    with worker(tmp_path / "two", postgres_url):
        found = until_run(accepting, run["id"], "completed", "failed")
    assert (found["status"], found["stop_reason"]) == ("completed", "end_turn")


def test_a_worker_answers_probes_and_nothing_else_and_stops_in_order(tmp_path: Path, postgres_url: str) -> None:
    with worker(tmp_path, postgres_url, "--port", "0", "--slots", "3") as process:
        [url] = [line.split()[-1] for line in process.printed if "Probes at" in line]
        answers = {path: httpx.get(url + path) for path in ("/v1/health", "/v1/ready", "/metrics", "/v1/agents")}
        process.running.send_signal(signal.SIGTERM)
        assert process.end() == 0
    assert [answer.status_code for answer in answers.values()] == [200, 200, 200, 404]
    assert "/v1/ready" in answers["/v1/agents"].json()["detail"]
    assert process.printed[-1] == "Stopped."


@pytest.mark.parametrize("command", ["worker", "server"])
def test_a_sqlite_file_is_no_place_for_workers(tmp_path: Path, command: str) -> None:
    options = ("--no-execute", "--port", "0") if command == "server" else ()
    refused = letta(tmp_path, command, *options)
    assert refused.returncode == (2 if command == "worker" else 1)
    assert "PostgreSQL" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_data_folder_that_cannot_be_used_is_one_line_with_a_remedy(tmp_path: Path, postgres_url: str) -> None:
    (tmp_path / "file").write_text("")
    done = letta(tmp_path, "worker", "--database-url", postgres_url, "--data-dir", str(tmp_path / "file"))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1].startswith(f"Error: the data folder {tmp_path / 'file'} cannot be used: ")
    assert "Traceback" not in done.stderr
