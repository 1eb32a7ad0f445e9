"""Made-up conversations between two people, and questions whose answers are known turns. The same on every machine."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from benchmarks.retrieval.data import FACTS, NAMES, SMALL_TALK

_CHATTER = (2, 7)


@dataclass(frozen=True, slots=True)
class Turn:
    """One thing said."""

    speaker: str
    text: str


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, and the numbers of the items that answer it. `kind` says how question and answer differ."""

    text: str
    evidence: frozenset[int]
    kind: str


@dataclass(slots=True)
class Dialogue:
    """A conversation and its questions; evidence are places in `turns`."""

    turns: list[Turn] = field(default_factory=list)
    questions: list[Question] = field(default_factory=list)


def dialogues(count: int, seed: int = 7) -> Iterator[Dialogue]:
    """`count` conversations in which both speak about the same topics, each with answers of their own."""
    chance = random.Random(seed)
    for _ in range(count):
        yield _dialogue(chance, chance.sample(NAMES, 2))


def _dialogue(chance: random.Random, people: list[str]) -> Dialogue:
    made = Dialogue()
    told = [(fact, person) for fact in FACTS for person in people]
    chance.shuffle(told)
    for fact, person in told:
        _chatter(chance, made, people)
        _tell(chance, made, fact, person, people[1 - people.index(person)])
    _chatter(chance, made, people)
    return made


def _tell(chance: random.Random, made: Dialogue, fact: tuple[str, ...], person: str, friend: str) -> None:
    topic, asked, whole, short, later, values = fact
    value = chance.choice(values.split(";"))
    stands_alone = chance.random() < 0.5
    if not stands_alone or chance.random() < 0.5:
        made.turns.append(Turn(friend, asked))
    made.turns.append(Turn(person, (whole if stands_alone else short).format(value)))
    evidence = frozenset({len(made.turns) - 1})
    made.questions.append(Question(later.format(who=person), evidence, "in other words"))
    if stands_alone:
        made.questions.append(Question(f"{person}: {topic}, {value}?", evidence, "in the same words"))
    else:
        made.questions.append(Question(f"What did {person} answer to: {asked}", evidence, "short answer"))


def _chatter(chance: random.Random, made: Dialogue, people: list[str]) -> None:
    for number in range(chance.randint(*_CHATTER)):
        made.turns.append(Turn(people[number % 2], chance.choice(SMALL_TALK)))
