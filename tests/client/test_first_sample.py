"""The first program a newcomer writes, as it stands, against a real server process."""

import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.process import PATIENCE, server, surroundings

PROGRAM = """
from {package} import Letta
client = Letta({key}="LETTA_API_KEY")
agent_state = client.agents.create(
    name="my_agent",
    memory_blocks=[{{"label": "human", "limit": 2000, "value": "Name: Bob"}},
                   {{"label": "persona", "limit": 2000, "value": "You are a friendly agent"}}],
    {model}="openai/gpt-4", embedding="openai/text-embedding-ada-002")
response = client.agents.messages.create(agent_id=agent_state.id, messages=[{{"role": "user", "text": "hello"}}])
print("Usage", response.usage); print("Agent messages", response.messages)
client.agents.{get}(agent_id=agent_state.id); client.agents.list(); client.agents.delete(agent_id=agent_state.id)
"""


def run(url: str, folder: Path, **words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM.format(**words)],
        env=surroundings(folder, LETTA_BASE_URL=url),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


@pytest.mark.parametrize(
    "words",
    [
        {"package": "letta", "key": "token", "model": "llm", "get": "get"},
        {"package": "letta_client", "key": "api_key", "model": "model", "get": "retrieve"},
    ],
    ids=lambda words: words["package"],
)
def test_the_first_program_runs_as_it_stands(tmp_path: Path, words: dict[str, str]) -> None:
    with server(tmp_path) as (url, _):
        ended = run(url, tmp_path, **words)
    assert (ended.returncode, ended.stderr) == (0, "")
    usage, messages = ended.stdout.splitlines()
    assert usage.startswith("Usage Usage(")
    assert messages.startswith("Agent messages [AssistantMessage(")
    assert "Hello, Bob!" in messages


def test_without_a_key_the_first_program_is_told_how_to_get_on(tmp_path: Path) -> None:
    with server(tmp_path, LETTA_SCRIPTED_MODELS="0") as (url, _):
        ended = run(url, tmp_path, package="letta", key="token", model="llm", get="get")
    assert ended.returncode == 1
    assert "Handle openai/gpt-4 not found" in ended.stderr
    assert "OPENAI_API_KEY" in ended.stderr
    assert "LETTA_SCRIPTED_MODELS=1" in ended.stderr
