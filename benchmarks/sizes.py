"""How much is measured: the sizes of a real run, and tiny ones that only show that everything runs."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sizes:
    """Counts of one run. Contexts are in tokens, `crowd_seconds` in seconds, the rest are numbers of things."""

    rounds: int
    steps: int
    contexts: tuple[int, ...]
    histories: tuple[int, int]
    streamed: int
    agents: int
    requests: int
    crowds: tuple[int, ...]
    crowd_seconds: float
    starts: int
    postgres: bool


FULL = Sizes(
    rounds=10,
    steps=20,
    contexts=(8_000, 128_000),
    histories=(100, 100_000),
    streamed=500,
    agents=10_000,
    requests=200,
    crowds=(32, 64),
    crowd_seconds=4.0,
    starts=3,
    postgres=True,
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
    starts=1,
    postgres=False,
)
