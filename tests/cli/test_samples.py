"""The samples of docs/cli.md and docs/python.md run as they stand, on a server as a newcomer starts it."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests import samples
from tests.cli.process import COMMAND, server, surroundings

PRINTS = {
    "python/by_name.py": "found by name\n",
    "python/errors.py": "404\n",
    "python/first_agent.py": "Your name is Alice.\nName: Alice\n",
    "python/local.py": "['Your name is Alice.']\n",
    "python/local_async.py": "['I am Ann']\n['I am Ben']\n",
    "python/older_names.py": "still works\n",
}
NO_KEYS = {"LETTA_SCRIPTED_MODELS": "0"}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server without keys: only the built-in model."""
    with server(tmp_path_factory.mktemp("samples"), **NO_KEYS) as (url, _):
        yield url


@pytest.mark.parametrize("sample", sorted(samples.names("python")))
def test_python_sample_runs(sample: str, address: str, tmp_path: Path) -> None:
    printed = samples.output(sample, tmp_path, LETTA_BASE_URL=address, **NO_KEYS)
    if sample == "python/streaming.py":
        assert len(printed.split()) == 12
    else:
        assert printed == PRINTS[sample]


def test_the_shell_sample_runs(tmp_path: Path) -> None:
    script = (samples.SAMPLES / "cli/talk.sh").read_text(encoding="utf-8")
    environment = surroundings(tmp_path)
    environment["PATH"] = f"{Path(COMMAND).parent}{os.pathsep}{environment['PATH']}"
    ended = subprocess.run(
        ["bash", "-euc", script], env=environment, capture_output=True, text=True, timeout=samples.PATIENCE, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "Your name is Alice." in ended.stdout
    assert ended.stdout.rstrip().endswith("Name: Alice")
