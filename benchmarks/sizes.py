"""How much is measured: the sizes of a real run, and tiny ones that only show that everything runs."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sizes:
    """Counts of one run. Contexts are in tokens, what ends in `_seconds` in seconds, the rest are numbers of things."""

    rounds: int
    steps: int
    contexts: tuple[int, ...]
    histories: tuple[int, int]
    streamed: int
    agents: int
    requests: int
    crowds: tuple[int, ...]
    crowd_seconds: float
    watchers: int
    starts: int
    settle_seconds: float
    postgres: bool
    dialogues: int
    places: int
    memories: tuple[int, int]
    long_turns: int


FULL = Sizes(
    rounds=6,
    steps=20,
    contexts=(8_000, 128_000),
    histories=(100, 100_000),
    streamed=500,
    agents=10_000,
    requests=80,
    crowds=(32, 64),
    crowd_seconds=3.0,
    watchers=1_000,
    starts=2,
    settle_seconds=2.0,
    postgres=True,
    dialogues=8,
    places=12,
    memories=(10_000, 100_000),
    long_turns=5_000,
)
TINY = Sizes(
    rounds=1,
    steps=2,
    contexts=(500,),
    histories=(10, 50),
    streamed=20,
    agents=60,
    requests=3,
    crowds=(2,),
    crowd_seconds=0.2,
    watchers=10,
    starts=1,
    settle_seconds=0.1,
    postgres=False,
    dialogues=1,
    places=2,
    memories=(40, 80),
    long_turns=20,
)
