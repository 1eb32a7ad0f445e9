"""Made-up handbooks, and questions whose answers are known paragraphs. The same on every machine."""

import random
from dataclasses import dataclass, field

from benchmarks.retrieval.data import FILLERS, PLACES, SUBJECTS, SYLLABLES
from benchmarks.retrieval.dialogues import Question


@dataclass(slots=True)
class Library:
    """Passages, and questions with the places of those that answer them."""

    passages: list[str] = field(default_factory=list)
    questions: list[Question] = field(default_factory=list)


def library(places: int, seed: int = 11) -> Library:
    """Handbooks of up to twelve places, a passage on each of twenty subjects; each fact is asked for twice."""
    chance, made = random.Random(seed), Library()
    for topic, fact, later in SUBJECTS:
        for place, others in PLACES[:places]:
            name, number = "".join(chance.sample(SYLLABLES, 3)).capitalize(), chance.randint(11, 59)
            sentences = chance.sample(FILLERS, chance.randint(4, 9))
            told = f"At the {place}, {fact.format(name=name, number=number)}."
            sentences.insert(chance.randrange(len(sentences)), told)
            evidence = frozenset({len(made.passages)})
            made.passages.append(" ".join(sentences))
            made.questions.append(Question(f"{later} at the {others}?", evidence, "in other words"))
            made.questions.append(Question(f"{name} {topic} {number}", evidence, "in the same words"))
    return made
