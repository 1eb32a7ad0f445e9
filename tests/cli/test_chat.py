"""`letta chat` with lines piped in, and at a keyboard."""

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.cli.process import COMMAND, PATIENCE, letta, server, surroundings

from letta.client import Letta

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo terminal")

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


def test_a_conversation_is_kept_from_one_call_to_the_next(tmp_path: Path) -> None:
    first = letta(tmp_path, "chat", "--local", stdin="My name is Alice.\n")
    assert (first.returncode, first.stderr) == (0, "")
    assert 'memory_insert(label="human", new_string="Name: Alice") →' in first.stdout
    second = letta(
        tmp_path, "chat", "--local", stdin="What is my name?\n/memory\n/reset\n/help\n/nonsense\n/exit\nnever sent\n"
    )
    assert "Your name is Alice." in second.stdout
    assert "human 11 of 100000 characters\nName: Alice\n" in second.stdout
    assert "/agents [NAME]  list the agents" in second.stdout
    assert "/nonsense is not a command" in second.stdout
    assert "never sent" not in second.stdout


def test_a_server_is_found_by_its_data_folder(tmp_path: Path) -> None:
    with server(tmp_path) as (url, _):
        said = letta(tmp_path, "chat", stdin="echo abc\n")
        assert f"at {url}." in said.stdout
        assert said.stdout.endswith("\nabc\n")
        with Letta(base_url=url) as client:
            assert len(client.agents.list().items) == 1


def test_without_a_server_it_says_how_to_get_one(tmp_path: Path) -> None:
    refused = letta(tmp_path, "chat", stdin="hello\n")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "`letta server`" in refused.stderr
    assert "--local" in refused.stderr


def test_a_password_is_taken_from_the_environment(tmp_path: Path) -> None:
    with server(tmp_path, LETTA_SERVER_PASSWORD="sesame") as (url, _):
        refused = letta(tmp_path, "chat", "--url", url, stdin="hello\n")
        assert refused.returncode == 1
        assert "set LETTA_API_KEY" in refused.stderr
        said = letta(tmp_path, "chat", "--url", url, stdin="echo abc\n", LETTA_API_KEY="sesame")
        assert said.stdout.endswith("\nabc\n")


def test_an_agent_is_named_by_its_name(tmp_path: Path) -> None:
    for name in ("Ann", "Ben"):
        letta(tmp_path, "agents", "create", name)
    several = letta(tmp_path, "chat", "--local", stdin="hello\n")
    assert several.returncode == 2
    assert "name the one" in several.stderr
    named = letta(tmp_path, "chat", "Ben", "--local", stdin="/agents Ann\n/agents Nobody\n/agents\n")
    assert "Talking to Ben" in named.stdout
    assert "Talking to Ann" in named.stdout
    assert "no agent called 'Nobody'" in named.stdout


def test_a_failed_message_ends_what_nobody_watches_with_code_1(tmp_path: Path) -> None:
    failed = letta(tmp_path, "chat", "--local", stdin="!error rate_limit\nhello\n")
    assert failed.returncode == 1
    assert failed.stderr.startswith("Error: ")
    assert "Traceback" not in failed.stderr


class Keyboard:
    """A command on a terminal of its own."""

    def __init__(self, process: subprocess.Popen[bytes], terminal: int) -> None:
        self.process = process
        self._terminal = terminal
        self._seen = ""

    def type(self, text: str) -> None:
        os.write(self._terminal, text.encode())

    def sees(self, text: str) -> None:
        """Wait until `text` is shown, after what was waited for before."""
        deadline = time.monotonic() + PATIENCE
        while text not in self._seen:
            ready, _, _ = select.select([self._terminal], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"{text!r} is not shown:\n{self._seen}"
            self._seen = _ESCAPES.sub("", self._seen + self._read())
        self._seen = self._seen.partition(text)[2]

    def _read(self) -> str:
        try:
            return os.read(self._terminal, 65536).decode()
        except OSError:  # the terminal is closed with its last process
            raise AssertionError(f"the command has ended:\n{self._seen}") from None


@contextmanager
def keyboard(folder: Path, *arguments: str, **environment: str) -> Iterator[Keyboard]:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [COMMAND, *arguments],
        env=surroundings(folder, TERM="xterm", COLUMNS="120", **environment),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        # Who runs the tests in the background of a shell ignores the signal, and so would the command.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    os.close(theirs)
    try:
        yield Keyboard(process, ours)
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(PATIENCE)
        os.close(ours)


def test_at_a_keyboard_an_agent_is_chosen_and_talked_to(tmp_path: Path) -> None:
    for name in ("Ann", "Ben"):
        letta(tmp_path, "agents", "create", name)
    with keyboard(tmp_path, "chat", "--local") as person:
        person.sees("1 Ben")
        person.sees("Which one")
        person.type("2\n")
        person.sees("Talking to Ann")
        person.sees("> ")
        person.type("echo it works\n")
        person.sees("\r\nit works\r\n")
        person.sees("> ")
        person.type("\x04")
        assert person.process.wait(PATIENCE) == 0


def test_ctrl_c_stops_an_answer_and_not_the_conversation(tmp_path: Path) -> None:
    with server(tmp_path) as (url, _):
        with Letta(base_url=url) as client:
            agent = client.agents.create(name="Talker", model="openai/gpt-4")
        with keyboard(tmp_path, "chat", "Talker", "--url", url) as person:
            person.sees("> ")
            person.type("!wait 50\n")
            with Letta(base_url=url) as client:
                deadline = time.monotonic() + PATIENCE
                while not client.runs.list(agent_id=agent.id, active=True).items:
                    assert time.monotonic() < deadline
                person.process.send_signal(2)
                person.sees("Stopped.")
                person.sees("> ")
                person.type("echo still here\n")
                person.sees("\r\nstill here\r\n")
                assert [run.status for run in client.runs.list(agent_id=agent.id)] == ["completed", "cancelled"]


def test_calls_that_wait_are_allowed_or_denied_at_the_keyboard(tmp_path: Path) -> None:
    with server(tmp_path) as (url, _):
        with Letta(base_url=url) as client:
            agent = client.agents.create(
                name="Careful", model="openai/gpt-4", memory_blocks=[{"label": "human", "value": ""}]
            )
            client.agents.tools.update_approval("memory_insert", agent_id=agent.id, body_requires_approval=True)
            client.agents.messages.create(agent.id, input="My name is Eve.")
        with keyboard(tmp_path, "chat", "Careful", "--url", url) as person:
            person.sees("> ")
            person.type("My name is Alice.\n")
            person.sees('The agent wants to call memory_insert(label="human", new_string="Name: Eve")')
            person.sees("Allow it? (y, n, or why not) ")
            person.type("this is somebody else\n")
            person.sees("Error: the user denied this call. Reason: this is somebody else")
            person.sees('The agent wants to call memory_insert(label="human", new_string="Name: Alice")')
            person.sees("Allow it?")
            person.type("\x04")
            person.sees("The call goes on waiting")
            person.sees("> ")
            person.type("echo and now\n")
            person.sees('new_string="Name: Alice")')
            person.sees("Allow it?")
            person.type("y\n")
            person.sees("was edited")
            person.sees("and now")
            person.sees("> ")
            person.type("\x04")
            assert person.process.wait(PATIENCE) == 0
        with Letta(base_url=url) as client:
            assert client.agents.blocks.retrieve("human", agent_id=agent.id).value == "Name: Alice"


def test_a_call_that_waits_is_not_answered_where_nobody_sits_at_a_keyboard(tmp_path: Path) -> None:
    with server(tmp_path) as (url, _):
        with Letta(base_url=url) as client:
            agent = client.agents.create(
                name="Careful", model="openai/gpt-4", memory_blocks=[{"label": "human", "value": ""}]
            )
            client.agents.tools.update_approval("memory_insert", agent_id=agent.id, body_requires_approval=True)
        said = letta(tmp_path, "chat", "--url", url, stdin="My name is Alice.\ny\n")
        assert "The agent waits for an approval: give it in a chat at a keyboard." in said.stdout
        assert (said.returncode, "waits" in said.stderr or "approval" in said.stderr.lower()) == (1, True)
        with Letta(base_url=url) as client:
            assert client.agents.blocks.retrieve("human", agent_id=agent.id).value == ""
