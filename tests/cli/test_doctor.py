"""`letta doctor`: what is fine, what is wrong, and what to do."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from tests.cli.model_server import model_server
from tests.cli.process import letta, server
from typer.testing import CliRunner, Result

from letta.cli.main import app
from letta.cli.trials import choose
from letta.client import Letta
from letta.store.database import REVISION

pytestmark = pytest.mark.usefixtures("plain_environment")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["doctor", *arguments])


def findings(*arguments: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """The exit code, and the findings by what was looked at."""
    ended = run("--json", *arguments)
    told = json.loads(ended.stdout)
    assert told["ok"] is (ended.exit_code == 0)
    return ended.exit_code, {one["name"]: one for one in told["checks"]}


def filled(folder: Path) -> None:
    """A data folder with one agent."""
    with Letta.local(folder / "data") as client:
        client.agents.create(name="Bob")


def test_a_new_machine_is_fine_and_nothing_is_made_on_it(tmp_path: Path) -> None:
    ended = run()
    assert ended.exit_code == 0
    assert "ok       data folder: " in ended.stdout
    assert "(made at the first start)" in ended.stdout
    assert "warning  providers: none" in ended.stdout
    assert "ok       model letta/scripted: chats and calls a tool" in ended.stdout
    assert not (tmp_path / "data").exists()


def test_a_folder_in_use_before_is_read_and_left_as_it_is(tmp_path: Path) -> None:
    filled(tmp_path)
    code, found = findings()
    assert code == 0
    assert found["database"]["found"].endswith(f"schema {REVISION}, 1 agent")
    assert found["runs"]["outcome"] == "ok"
    with Letta.local(tmp_path / "data") as client:
        assert [agent.name for agent in client.agents.list(extra_query={"show_hidden_agents": True})] == ["Bob"]
        assert client.blocks.list().items == []


def test_a_folder_that_cannot_be_written_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, found = findings("--no-calls", "--data-dir", str(tmp_path / "file" / "data"))
    assert (code, found["data folder"]["outcome"]) == (1, "problem")
    assert "--data-dir" in found["data folder"]["advice"]


def test_a_damaged_database_is_a_problem(tmp_path: Path) -> None:
    filled(tmp_path)
    path = tmp_path / "data" / "letta.db"
    content = path.read_bytes()
    path.write_bytes(content[:100] + b"\x00" * (len(content) - 100))
    code, found = findings("--no-calls")
    assert (code, found["database"]["outcome"]) == (1, "problem")


@pytest.mark.parametrize(("revision", "outcome"), [("0000", "warning"), ("9999", "problem")])
def test_another_schema_is_explained_and_not_touched(tmp_path: Path, revision: str, outcome: str) -> None:
    filled(tmp_path)
    with sqlite3.connect(tmp_path / "data" / "letta.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))
    connection.close()
    code, found = findings("--no-calls")
    assert (code, found["database"]["outcome"]) == (int(outcome == "problem"), outcome)
    assert revision in found["database"]["found"]


def test_a_database_that_does_not_answer_is_a_problem() -> None:
    code, found = findings("--no-calls", "--database-url", "postgresql://user:sesame@127.0.0.1:9/letta")
    assert (code, found["database"]["outcome"]) == (1, "problem")
    assert "sesame" not in str(found)


def test_a_lost_key_is_a_problem_once_something_is_stored_with_it(tmp_path: Path) -> None:
    with Letta.local(tmp_path / "data") as client:
        body = {"name": "mine", "provider_type": "openai", "api_key": "sk-1", "base_url": "http://127.0.0.1:9/v1"}
        client.post("/v1/providers/", body=body, cast_to=object)
    (tmp_path / "data" / "secret.key").unlink()
    code, found = findings("--no-calls")
    assert (code, found["encryption key"]["outcome"]) == (1, "problem")
    assert "backup" in found["encryption key"]["advice"]


def test_unfinished_runs_wait_for_the_next_start(tmp_path: Path) -> None:
    with (
        server(tmp_path, LETTA_SCRIPTED_LATENCY="50", LETTA_SHUTDOWN_GRACE="0") as (url, _),
        Letta(base_url=url) as client,
    ):
        agent = client.agents.create(name="Slow", model="openai/gpt-4")
        client.agents.messages.create_async(agent.id, input="hello")
    _, found = findings("--no-calls")
    assert (found["runs"]["outcome"], found["runs"]["found"]) == ("warning", "1 run unfinished")


def test_a_run_nobody_works_on_is_a_problem_of_a_running_server(tmp_path: Path) -> None:
    with (
        server(tmp_path, LETTA_SCRIPTED_LATENCY="50", LETTA_SHUTDOWN_GRACE="0") as (url, _),
        Letta(base_url=url) as client,
    ):
        agent = client.agents.create(name="Slow", model="openai/gpt-4")
        for _ in range(2):
            run_id = client.agents.messages.create_async(agent.id, input="hello").id
        _, found = findings("--no-calls")
        assert found["runs"]["found"] == "2 runs in progress, none is stuck"
        with sqlite3.connect(tmp_path / "data" / "letta.db") as connection:
            connection.execute("UPDATE runs SET created_at = created_at - 3600000000 WHERE id = ?", (run_id,))
        connection.close()
        code, found = findings("--no-calls")
        assert (code, found["runs"]["found"]) == (1, f"stuck: {run_id}")


def test_a_running_server_is_found_and_asked(tmp_path: Path) -> None:
    with server(tmp_path) as (url, _):
        code, found = findings()
        assert code == 0
        assert found["server"]["found"].startswith(f"{url}, version ")
        assert found["model letta/scripted"]["outcome"] == "ok"
        assert "LETTA_SCRIPTED_MODELS" in found["models"]["found"]
        with Letta(base_url=url) as client:
            assert client.agents.list(extra_query={"show_hidden_agents": True}).items == []
            assert client.blocks.list().items == []


def test_a_server_elsewhere_is_asked_and_nothing_here_is_looked_at(running: str) -> None:
    code, found = findings("--url", running)
    assert (code, set(found)) == (0, {"server", "models", "providers", "model letta/scripted"})


def test_a_server_that_does_not_answer_is_a_problem(tmp_path: Path) -> None:
    ended = letta(tmp_path, "doctor", "--url", "http://127.0.0.1:9")
    assert ended.returncode == 1
    assert "problem  server: http://127.0.0.1:9 cannot be reached" in ended.stdout


def test_a_provider_that_does_not_answer_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-sesame")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    code, found = findings()
    assert (code, found["provider openai"]["outcome"]) == (1, "problem")
    assert "sk-sesame" not in str(found)


@pytest.mark.parametrize("stored", [False, True], ids=["of the environment", "stored in the database"])
def test_a_provider_is_really_listed_and_its_small_model_tried(
    stored: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with model_server() as url:
        if stored:
            body = {"name": "openai", "provider_type": "openai", "api_key": "sk-1", "base_url": url}
            with Letta.local(tmp_path / "data") as client:
                client.post("/v1/providers/", body=body, cast_to=object)
        else:
            monkeypatch.setenv("OPENAI_BASE_URL", url)
        code, found = findings()
    assert code == 0
    assert (found["provider openai"]["outcome"], found["provider openai"]["found"]) == ("ok", "lists 2 models")
    assert found["model openai/obedient-mini"]["found"] == "chats and calls a tool"


def test_a_model_that_ignores_its_tools_is_pointed_out(monkeypatch: pytest.MonkeyPatch) -> None:
    with model_server(calls_tools=False) as url:
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        code, found = findings("--model", "openai/big")
    assert (code, found["model openai/big"]["outcome"]) == (0, "warning")
    assert "did not call the tool" in found["model openai/big"]["found"]


def test_the_small_model_of_a_list_is_tried() -> None:
    assert choose(["openai/gpt-5", "openai/gpt-4o-mini", "openai/o3"]) == "openai/gpt-4o-mini"
    assert choose(["anthropic/claude-opus-4", "anthropic/claude-haiku-4-5"]) == "anthropic/claude-haiku-4-5"
    assert choose(["ollama/mystery"]) == "ollama/mystery"
