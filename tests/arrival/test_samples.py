"""The samples of docs/sending.md run as they stand."""

from pathlib import Path

import pytest
from tests import samples
from tests.cli.process import server

SECRET = "shared with whoever is called"
PRINTS = {
    "sending/once.py": ["True", "1 run"],
    "sending/busy.py": [
        "busy with this run: True",
        "end_turn ['assistant_message']",
        "heard during the first run: True",
    ],
    "sending/deadline.py": ["504 did not end within 0.5 seconds (deadline_seconds)", "failed deadline_exceeded"],
    "sending/callback.py": ["created [(True, 'completed')]"],
}


@pytest.mark.parametrize("sample", sorted(samples.names("sending")))
def test_sample_prints_what_it_should(sample: str, tmp_path: Path) -> None:
    with server(tmp_path, LETTA_CALLBACK_SECRET=SECRET) as (url, _):
        # Not `output`: the server that is called back writes its log to stderr.
        ended = samples.run(sample, tmp_path, LETTA_BASE_URL=url, LETTA_CALLBACK_SECRET=SECRET)
    assert ended.stdout.splitlines() == PRINTS[sample]
