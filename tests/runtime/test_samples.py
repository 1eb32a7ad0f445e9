"""The samples of the pages about turns, schedules, streams, agents together and operation run as they stand."""

from pathlib import Path

import pytest
from tests import samples

FOLDERS = ("agents_together", "operations", "schedules", "streaming", "turns")
PRINTS = {
    "agents_together/asking.py": ["2 + 3 = 5"],
    "agents_together/group.py": ["ann assistant_message", "ben assistant_message", "ann assistant_message", "3 runs"],
    "agents_together/sleeptime.py": ["completed True", "Name: Grace"],
    "operations/probes.py": [
        "ok",
        "200",
        'letta_runs_open{status="created"} 0.0',
        'letta_runs_open{status="running"} 0.0',
        "letta_database_up 1.0",
    ],
    "schedules/batch.py": ["completed {'completed': 2}", "assistant I am Bo."],
    "schedules/daily.py": ["True True", "True"],
    "schedules/once.py": ["started 0", "user_message", "assistant_message"],
    "streaming/resume.py": ["one two | three four", "one two three four ['stop_reason', 'usage_statistics']"],
    "turns/approval.py": [
        'requires_approval memory_insert {"label":"human","new_string":"Name: Alice"}',
        "['tool_return_message', 'assistant_message']",
        "Name: Alice",
    ],
    "turns/past.py": ["Name: Ann", "Name: Cleo", "assistant_message True", "Name: Bea"],
}


@pytest.mark.parametrize("sample", sorted(name for folder in FOLDERS for name in samples.names(folder)))
def test_sample_prints_what_it_should(sample: str, tmp_path: Path) -> None:
    printed = samples.lines(sample, tmp_path)
    if sample == "turns/client_tool.py":
        assert "21 in the kitchen" in printed[0]
    elif sample == "turns/compaction.py":
        assert printed[0].startswith("13 -> ")
        assert printed[1] == "True"
    else:
        assert printed == PRINTS[sample]
