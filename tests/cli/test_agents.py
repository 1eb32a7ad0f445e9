"""`letta agents`, on the store itself and over a running server."""

import json
from pathlib import Path

import pytest
from tests.cli.process import letta
from typer.testing import CliRunner, Result

from letta.cli.main import app

pytestmark = pytest.mark.usefixtures("plain_environment")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["agents", *arguments])


def test_agents_are_made_listed_shown_and_deleted_without_a_server() -> None:
    empty = run("list")
    assert (empty.exit_code, empty.stdout) == (
        0,
        "There are no agents yet. Make one with `letta agents create NAME`.\n",
    )
    made = run("create", "Bob", "--persona", "I am Bob.", "--tag", "work", "--tag", "home")
    assert (made.exit_code, made.stdout.split()[:2]) == (0, ["Made", "Bob"])
    listed = run("list").stdout
    assert "Bob" in listed
    assert "letta/scripted" in listed
    shown = run("show", "Bob").stdout
    assert "persona 9 of" in shown
    assert "I am Bob." in shown
    assert "Tags   " in shown
    deleted = run("delete", "Bob", "--yes")
    assert (deleted.exit_code, deleted.stdout.split()[:2]) == (0, ["Deleted", "Bob"])
    assert run("list").stdout == empty.stdout


def test_json_is_what_the_api_answers() -> None:
    made = json.loads(run("create", "Bob", "--human", "Likes [bold] tea", "--json").stdout)
    assert [block["value"] for block in made["blocks"]] == ["", "Likes [bold] tea"]
    assert json.loads(run("list", "--json").stdout)[0]["id"] == made["id"]
    assert json.loads(run("show", "Bob", "--json").stdout)["id"] == made["id"]
    assert "Likes [bold] tea" in run("show", "Bob").stdout
    assert json.loads(run("delete", made["id"], "--yes", "--json").stdout) == {"deleted": made["id"]}


def test_a_name_that_nobody_has_is_explained() -> None:
    unknown = run("show", "Nobody")
    assert (unknown.exit_code, unknown.stdout) == (1, "")
    assert "There is no agent called 'Nobody'" in unknown.stderr


def test_a_name_that_two_have_asks_for_the_id() -> None:
    ids = [json.loads(run("create", "Twin", "--json").stdout)["id"] for _ in range(2)]
    ambiguous = run("delete", "Twin", "--yes")
    assert ambiguous.exit_code == 1
    assert all(one in ambiguous.stderr for one in ids)
    assert len(json.loads(run("list", "--json").stdout)) == 2


def test_deleting_without_a_keyboard_has_to_be_confirmed_beforehand() -> None:
    run("create", "Bob")
    refused = run("delete", "Bob")
    assert refused.exit_code == 2
    assert "--yes" in refused.stderr


def test_more_agents_than_a_page_are_listed() -> None:
    for number in range(3):
        run("create", f"agent {number}")
    assert [agent["name"] for agent in json.loads(run("list", "--json", "--limit", "2").stdout)] == [
        "agent 2",
        "agent 1",
    ]
    assert [agent["name"] for agent in json.loads(run("list", "--json", "--name", "agent 0").stdout)] == ["agent 0"]


def test_a_model_that_is_not_there_is_explained() -> None:
    refused = run("create", "--model", "openai/gpt-4")
    assert refused.exit_code == 1
    assert "OPENAI_API_KEY" in refused.stderr


def test_over_a_running_server_the_same_commands_work(running: str, tmp_path: Path) -> None:
    name = f"over http {tmp_path.name}"
    assert run("create", name, "--url", running).exit_code == 0
    assert json.loads(run("show", name, "--url", running, "--json").stdout)["name"] == name
    assert run("list", "--json").stdout == "[]\n"
    assert run("delete", name, "--yes", "--url", running).exit_code == 0


def test_a_server_that_does_not_answer_is_explained(tmp_path: Path) -> None:
    refused = letta(tmp_path, "agents", "list", "--url", "http://127.0.0.1:9")
    assert refused.returncode == 1
    assert "http://127.0.0.1:9 cannot be reached" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_url_and_local_exclude_each_other() -> None:
    assert run("list", "--url", "http://127.0.0.1:9", "--local").exit_code == 2
