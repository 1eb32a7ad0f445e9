"""A few kills of the harness in each run of the tests; `python -m tests.crash` does hundreds."""

from pathlib import Path

from tests.crash import harness


async def test_kills_at_points_of_the_journal_lose_and_repeat_nothing(tmp_path: Path) -> None:
    outcome = await harness.run(tmp_path, kills=5, seed=3)
    assert outcome.kills.count == 5
    assert outcome.messages > 0


async def test_two_replicas_take_over_from_each_other(tmp_path: Path, postgres_url: str) -> None:
    outcome = await harness.run(tmp_path, kills=4, seed=4, replicas=2, database_url=postgres_url)
    assert outcome.kills.count >= 4
    assert outcome.messages > 0
