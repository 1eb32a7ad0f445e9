"""The benchmarks run: with tiny sizes, whose numbers mean nothing. How fast anything is, no test says."""

import sys
from pathlib import Path

import pytest
from benchmarks.__main__ import GROUPS
from benchmarks.sizes import TINY
from benchmarks.table import Row, percentile

from benchmarks import programs, statements

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the benchmarks read Linux's /proc")


@pytest.mark.parametrize("group", GROUPS)
async def test_each_group_measures_something(group: str, tmp_path: Path) -> None:
    _, measure = GROUPS[group]
    rows = await measure(TINY, tmp_path)
    assert rows
    assert all(row.ours >= 0 and (row.floor is None or row.floor >= 0) for row in rows)
    assert len({row.what for row in rows}) == len(rows)


async def test_a_plain_message_is_few_transactions_and_opens_no_connection(tmp_path: Path) -> None:
    async with programs.provider() as upstream:
        counted = await statements.count(tmp_path, None, upstream, 2)
    # Two of its own, and what happens behind it: indexing may look for work.
    assert 2 * 2 <= counted["transaction"] <= 2 * 4
    assert counted["connection"] == 0
    assert counted["statement"] <= 2 * 15


def test_ratios_above_one_are_worse_whatever_the_unit() -> None:
    assert Row("time", "ms", 8, 4, aim_ratio=4).ratio == 2
    assert Row("throughput", "per s", 4, 8, more_is_better=True).ratio == 2


def test_an_aim_is_a_limit_or_a_ratio() -> None:
    assert Row("time", "ms", 5, 1, aim=4).reached is False
    assert Row("time", "ms", 5, 2, aim_ratio=4).reached is True
    assert Row("throughput", "per s", 5, 2, aim=4, more_is_better=True).reached is True


def test_percentiles_are_values_that_were_seen() -> None:
    assert [percentile([4, 1, 3, 2], share) for share in (0, 0.5, 0.95, 1)] == [1, 3, 4, 4]
