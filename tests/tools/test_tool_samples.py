"""The samples of docs/tools.md run as they stand."""

import os
import shutil
from pathlib import Path

import pytest
from tests import samples

PRINTS = {
    "tools/python_tool.py": ["success 33.0", "tool_call_message", "tool_return_message", "assistant_message"],
    "tools/agent_and_secrets.py": ["Secretary wrote it down.", "['my key is [secret NOTES_KEY]']", "Buy milk."],
    "tools/models_as_arguments.py": ["3"],
    "tools/library_tool.py": ["['numpy']"],
    "tools/run_code.py": ["5050"],
    "tools/typescript_tool.py": ["4 words"],
}
# Installers need this machine's own way to the package index.
PASSED_ON = ("HOME", "NODE_", "PIP_", "SSL_", "UV_")
INSTALLERS = {name: value for name, value in os.environ.items() if name.startswith(PASSED_ON)}


@pytest.mark.parametrize("sample", sorted(samples.names("tools")))
def test_sample_prints_what_it_should(sample: str, tmp_path: Path) -> None:
    if sample == "tools/typescript_tool.py" and shutil.which("node") is None:
        pytest.skip("Node.js is not installed")
    assert samples.lines(sample, tmp_path, **INSTALLERS) == PRINTS[sample]
