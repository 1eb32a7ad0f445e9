"""The samples of docs/memory.md run as they stand."""

from pathlib import Path

import pytest
from tests import samples

PRINTS = {
    "memory/archive.py": ["Ana, Bob's sister, lives in Lisbon.", "True"],
    "memory/search.py": ["We booked two weeks in Lisbon."],
}


@pytest.mark.parametrize("sample", sorted(samples.names("memory")))
def test_sample_prints_what_it_should(sample: str, tmp_path: Path) -> None:
    assert samples.lines(sample, tmp_path) == PRINTS[sample]
