"""An agent's archival memory: what it keeps for later, and how it finds it again. Knows no HTTP."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection

from letta.errors import NotFound
from letta.memory.recall import Recall
from letta.schemas.passages import CreatePassage, Passage
from letta.store import archives, passages, search
from letta.store.access import Database
from letta.store.pieces import PASSAGE
from letta.store.search import Hit, Mode, TagMatch, Wanted

EXCERPT = 4_000
"""Characters up to which a passage is shown whole to a model; of a longer one the piece that was found."""


@dataclass(frozen=True, slots=True)
class Question:
    """What to look for in archives. `after` and `before` are inclusive."""

    query: str
    tags: tuple[str, ...] = ()
    tag_match: TagMatch = "any"
    after: datetime | None = None
    before: datetime | None = None
    limit: int = 10
    mode: Mode = "hybrid"


class Remembered(NamedTuple):
    """A passage found, and the part of it that fits."""

    passage: Passage
    hit: Hit

    @property
    def shown(self) -> str:
        """The text for a model: the passage, or of a long one its fitting piece."""
        return self.passage.text if len(self.passage.text) <= EXCERPT else f"... {self.hit.text} ..."


class Answer(NamedTuple):
    """What was found, best first, and whether by words, meaning or both."""

    found: list[Remembered]
    mode: Mode


async def find(recall: Recall, question: Question, archive_ids: Sequence[str] | None) -> Answer:
    """Search some archives, or with None all there are. An empty question gives the newest."""
    wanted = Wanted(
        PASSAGE,
        question.query,
        None if archive_ids is None else tuple(archive_ids),
        mode=question.mode,
        after=question.after,
        before=question.before,
        tags=question.tags,
        tag_match=question.tag_match,
        limit=question.limit,
    )
    result, known = await recall.find(wanted, passages.named)
    found = [Remembered(known[hit.item_id], hit) for hit in result.hits if hit.item_id in known]
    return Answer(found, result.mode)


async def find_for_agent(database: Database, recall: Recall, agent_id: str, question: Question) -> Answer:
    """Search everything an agent keeps."""
    return await find(recall, question, await database.read(search.archives_of, agent_id))


def keep(connection: Connection, agent_id: str, new: Sequence[CreatePassage]) -> list[Passage]:
    """Store passages in the agent's archive, which is made when it has none.

    Raises:
        letta.errors.NotFound: no such agent.
        letta.errors.InvalidValue: a text is empty or too long.
    """
    return passages.add(connection, archives.own(connection, agent_id), new)


def forget(connection: Connection, agent_id: str, passage_id: str) -> None:
    """Take a passage out of the agent's archives. Raises letta.errors.NotFound."""
    mine = archives.ids_of(connection, agent_id)
    if not mine:
        raise NotFound(f"passage {passage_id} not found: agent {agent_id} has no archive")
    passages.remove(connection, passage_id, mine)
