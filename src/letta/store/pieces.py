"""What is searched, as rows: messages and passages with their words; long texts in pieces. Knows no query.

Every piece whose owner has an embedding model is marked as `wanted` by it until it has a vector; see
`letta.store.embedding_jobs`. The full-text indexes follow the table by themselves.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from letta.schemas.messages import Message, Role, TextPart
from letta.store import vectors
from letta.store.splitting import split
from letta.store.tables import agents, archives, pieces
from letta.store.words import terms

MESSAGE, PASSAGE = "message", "passage"
_SEARCHABLE = frozenset({Role.USER, Role.ASSISTANT, Role.SYSTEM})

_wanted_by_agent = select(agents.c.embedding).where(agents.c.id == bindparam("whose")).scalar_subquery()
_wanted_by_archive = select(archives.c.embedding).where(archives.c.id == bindparam("whose")).scalar_subquery()
_insert_of = {
    MESSAGE: insert(pieces).values(wanted=_wanted_by_agent),
    PASSAGE: insert(pieces).values(wanted=_wanted_by_archive),
}


class Progress(NamedTuple):
    """How far an owner's pieces are embedded. `failed` pieces were refused by the model, `failure` says why."""

    pieces: int
    waiting: int
    failed: int
    failure: str | None


def add_messages(connection: Connection, new: Iterable[Message]) -> None:
    """Make messages findable: what people, the system and the agent said, not what tools answered."""
    rows = []
    for message in new:
        if message.role in _SEARCHABLE and not _is_made_up(message):
            rows += _rows(
                MESSAGE,
                message.agent_id,
                message.id,
                searchable_text(message),
                message.created_at,
                thread=message.conversation_id,
                position=message.position,
                role=message.role.value,
                speaker=message.name,
            )
    if rows:
        connection.execute(_insert_of[MESSAGE], rows)


def add_passage(connection: Connection, archive_id: str, passage_id: str, text: str, created_at: datetime) -> None:
    """Make a passage findable."""
    rows = _rows(PASSAGE, archive_id, passage_id, text, created_at, thread=passage_id)
    if rows:
        connection.execute(_insert_of[PASSAGE], rows)


def remove_items(connection: Connection, owner: str, item_ids: Sequence[str]) -> None:
    """Forget messages or passages of an owner."""
    if connection.execute(delete(pieces).where(pieces.c.item_id.in_(item_ids))).rowcount:
        vectors.note_removed(connection, owner)


def remove_owner(connection: Connection, owner: str) -> None:
    """Forget everything of an agent or an archive."""
    connection.execute(delete(pieces).where(pieces.c.owner == owner))
    vectors.forget_owner(connection, owner)


def set_model(connection: Connection, owner: str, handle: str | None) -> None:
    """Have all pieces of an owner read by this model, in the background; by none with None.

    Vectors of the model before stay until they are replaced, and are not compared with those of the new one.
    """
    mine = update(pieces).where(pieces.c.owner == owner)
    connection.execute(mine.values(wanted=handle, claimed_until=None, failure=None))
    if handle is not None:
        done = vectors.pieces_of(owner, handle)
        connection.execute(mine.where(pieces.c.id.in_(done)).values(wanted=None))


def progress(connection: Connection, owner: str) -> Progress:
    """How many pieces of an owner there are, and how many wait for their vectors."""
    query = select(func.count(), func.count(pieces.c.wanted), func.count(pieces.c.failure), func.max(pieces.c.failure))
    return Progress(*connection.execute(query.where(pieces.c.owner == owner)).one())


def searchable_text(message: Message) -> str:
    """What of a message is searched: its text, and for heartbeat agents the reply inside `send_message`."""
    said = [part.text for part in message.parts if isinstance(part, TextPart)]
    reply = (message.data or {}).get("reply")
    return "\n".join([*said, *([reply] if reply else [])]).replace("\x00", "")


def owner_word(owner: str) -> str:
    """The owner's id as one word, which the tokenizer does not split at its dashes."""
    return owner.replace("-", "")


def _is_made_up(message: Message) -> bool:
    """Is it text the server wrote itself: the compiled prompt, or a word to a model that should go on?"""
    data = message.data or {}
    return bool(data.get("compiled") or data.get("nudge"))


def _rows(
    kind: str,
    owner: str,
    item_id: str,
    text: str,
    created_at: datetime,
    *,
    thread: str,
    position: int = 0,
    role: str | None = None,
    speaker: str | None = None,
) -> list[dict[str, Any]]:
    said = (speaker or role, created_at) if role is not None else (None, None)
    return [
        {
            "kind": kind,
            "owner": owner,
            "whose": owner,
            "owner_word": owner_word(owner),
            "item_id": item_id,
            "number": number,
            "thread": thread,
            "position": position,
            "role": role,
            "speaker": speaker,
            "text": piece,
            "terms": terms(piece, *said),
            "created_at": created_at,
        }
        for number, piece in enumerate(split(text))
    ]
