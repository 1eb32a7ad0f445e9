"""The samples of docs/conversations.md run as they stand and print what the page says below them."""

from pathlib import Path

import pytest
from tests import samples

PAGE = (samples.ROOT / "docs/conversations.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("sample", sorted(samples.names("conversations")))
def test_sample_prints_what_the_page_says(sample: str, tmp_path: Path) -> None:
    printed = "".join(f"{line}\n" for line in samples.lines(sample, tmp_path))
    assert f"{samples.shown(sample)}\nIt prints\n\n```\n{printed}```\n" in PAGE
