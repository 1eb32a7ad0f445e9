"""The sentences the made-up texts are put together from: in the folder `data`, one line each, `|` in between."""

from pathlib import Path

_FOLDER = Path(__file__).parent / "data"


def lines(name: str) -> tuple[tuple[str, ...], ...]:
    """The lines of a file, each as its fields."""
    return tuple(tuple(line.split("|")) for line in (_FOLDER / f"{name}.txt").read_text().splitlines())


FACTS = lines("facts")
"""Topic, question, answer that stands alone, answer that needs the question, later question, values (`;` between)."""

SMALL_TALK = tuple(line for (line,) in lines("small_talk"))
SUBJECTS = lines("handbook_subjects")
"""Topic, fact, later question (a place follows)."""

PLACES = lines("places")
"""A place, and other words for it."""

FILLERS = tuple(line for (line,) in lines("handbook_fillers"))
NAMES = ("Maya", "Tom", "Ines", "Felix", "Nora", "Jonas", "Leila", "Viktor", "Amara", "Pavel", "Greta", "Hugo")
SYLLABLES = ("ka", "ro", "min", "tel", "sa", "vor", "lin", "dal", "pe", "zun", "fi", "ghar", "mo", "bre", "tis", "ul")
