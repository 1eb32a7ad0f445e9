"""Full text over messages: FTS5 on SQLite, tsvector on PostgreSQL. Knows words, not what the text is for.

The owner (the agent's id) is an indexed term on SQLite, so that a search costs by the agent's own messages only.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, text

from letta.schemas.messages import Message, Role, TextPart

_SEARCHABLE = frozenset({Role.USER, Role.ASSISTANT})
_WORD = re.compile(r"\w+", re.UNICODE)


class Hit(NamedTuple):
    """A message found; a larger score is a better match."""

    message_id: str
    score: float


CREATE = {
    "sqlite": (
        """CREATE VIRTUAL TABLE message_index USING fts5(
        message_id UNINDEXED, owner, body, tokenize='unicode61 remove_diacritics 2')""",
    ),
    "postgresql": (
        """CREATE TABLE message_index (
        message_id TEXT PRIMARY KEY, owner TEXT NOT NULL REFERENCES agents(id) ON DELETE CASCADE, body TEXT NOT NULL,
        words TSVECTOR GENERATED ALWAYS AS (to_tsvector('simple', body)) STORED)""",
        "CREATE INDEX ix_message_index_words ON message_index USING gin (words)",
        "CREATE INDEX ix_message_index_owner ON message_index (owner)",
    ),
}
"""The statements that make the index, by dialect; part of the first migration."""

_INSERT = text("INSERT INTO message_index (message_id, owner, body) VALUES (:message_id, :owner, :body)")
_FIND_SQLITE = """
SELECT i.message_id, -bm25(message_index) AS score FROM message_index i JOIN messages m ON m.id = i.message_id
WHERE message_index MATCH :query AND m.agent_id = :agent_id {filters}
ORDER BY score DESC, m.created_at DESC LIMIT :limit
"""
_FIND_POSTGRES = """
SELECT i.message_id, ts_rank_cd(i.words, to_tsquery('simple', :query)) AS score
FROM message_index i JOIN messages m ON m.id = i.message_id
WHERE i.owner = :agent_id AND i.words @@ to_tsquery('simple', :query) {filters}
ORDER BY score DESC, m.created_at DESC LIMIT :limit
"""
_RECENT = """
SELECT m.id, 0.0 FROM messages m WHERE m.agent_id = :agent_id AND m.role IN ('user', 'assistant') {filters}
ORDER BY m.created_at DESC, m.id DESC LIMIT :limit
"""


def words(query: str) -> list[str]:
    """The distinct words of a query, in order."""
    return list(dict.fromkeys(word.lower() for word in _WORD.findall(query)))


def index(connection: Connection, messages: Iterable[Message]) -> None:
    """Make messages findable: what people and the agent said, not what tools answered."""
    rows = [
        {"message_id": message.id, "owner": _owner(message.agent_id, connection), "body": body}
        for message in messages
        if message.role in _SEARCHABLE and (body := searchable_text(message))
    ]
    if rows:
        connection.execute(_INSERT, rows)


def forget_agent(connection: Connection, agent_id: str) -> None:
    """Remove an agent's messages from the index (PostgreSQL does it by itself)."""
    if connection.dialect.name == "sqlite":
        connection.execute(
            text("DELETE FROM message_index WHERE message_index MATCH :query"),
            {"query": f"owner:{_owner(agent_id, connection)}"},
        )


def find(
    connection: Connection,
    agent_id: str,
    query: str,
    *,
    roles: Sequence[str] = (),
    conversation_id: str | None = None,
    after: datetime | None = None,
    before: datetime | None = None,
    limit: int = 5,
) -> list[Hit]:
    """Messages of an agent holding any word of `query`, best first; without words, the newest ones.

    `after` and `before` are inclusive moments.
    """
    sqlite = connection.dialect.name == "sqlite"
    filters, values = _filters(roles, conversation_id, after, before)
    wanted = words(query)
    values |= {"agent_id": agent_id, "limit": limit}
    if not wanted:
        statement = _RECENT
    elif sqlite:
        statement = _FIND_SQLITE
        either = " OR ".join(f'"{word}"' for word in wanted)
        values["query"] = f"owner:{_owner(agent_id, connection)} AND body:({either})"
    else:
        statement = _FIND_POSTGRES
        values["query"] = " | ".join(f"'{word}'" for word in wanted)
    rows = connection.execute(text(statement.format(filters=filters)), values)
    return [Hit(row[0], float(row[1])) for row in rows]


def searchable_text(message: Message) -> str:
    """What of a message is searched: its text, and for heartbeat agents the reply inside `send_message`."""
    said = [part.text for part in message.parts if isinstance(part, TextPart)]
    reply = (message.data or {}).get("reply")
    return "\n".join([*said, *([reply] if reply else [])])


def _filters(
    roles: Sequence[str], conversation_id: str | None, after: datetime | None, before: datetime | None
) -> tuple[str, dict[str, Any]]:
    parts, values = [], dict[str, Any]()
    if roles:
        names = [f"role_{number}" for number in range(len(roles))]
        parts.append(f"AND m.role IN ({', '.join(':' + name for name in names)})")
        values |= dict(zip(names, roles, strict=True))
    for name, column, operator, value in (
        ("conversation_id", "conversation_id", "=", conversation_id),
        ("after", "created_at", ">=", None if after is None else int(after.timestamp() * 1_000_000)),
        ("before", "created_at", "<=", None if before is None else int(before.timestamp() * 1_000_000)),
    ):
        if value is not None:
            parts.append(f"AND m.{column} {operator} :{name}")
            values[name] = value
    return " ".join(parts), values


def _owner(agent_id: str, connection: Connection) -> str:
    # One word for the tokenizer, which would split the id at its dashes.
    return agent_id.replace("-", "") if connection.dialect.name == "sqlite" else agent_id
