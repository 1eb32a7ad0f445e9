"""Archives, passages, and one index of words and vectors for messages and passages."""

import logging

from alembic import op
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from letta.store.tables import metadata

revision = "0002"
down_revision = "0001"

log = logging.getLogger(__name__)

TABLES = ("archives", "agent_archives", "passages", "passage_tags", "pieces", "vectors", "vector_owners")

# Words are stemmed (English) and lose their accents. The index holds no text of its own: it follows `pieces`.
SQLITE = (
    """CREATE VIRTUAL TABLE piece_words USING fts5(owner_word, terms, content='pieces', content_rowid='id',
    tokenize='porter unicode61 remove_diacritics 2')""",
    """CREATE TRIGGER pieces_added AFTER INSERT ON pieces BEGIN
    INSERT INTO piece_words (rowid, owner_word, terms) VALUES (new.id, new.owner_word, new.terms); END""",
    """CREATE TRIGGER pieces_removed AFTER DELETE ON pieces BEGIN
    INSERT INTO piece_words (piece_words, rowid, owner_word, terms)
    VALUES ('delete', old.id, old.owner_word, old.terms); END""",
)
POSTGRES = (
    "ALTER TABLE pieces ADD COLUMN words TSVECTOR GENERATED ALWAYS AS (to_tsvector('english', terms)) STORED",
    "CREATE INDEX ix_pieces_words ON pieces USING gin (words)",
)
# What the first schema had indexed; whoever has an embedding model gets it read in the background.
COPY = """
INSERT INTO pieces (kind, owner, owner_word, item_id, number, thread, position, role, speaker, text, terms,
  created_at, wanted)
SELECT 'message', m.agent_id, replace(m.agent_id, '-', ''), m.id, 0, m.conversation_id, m.position, m.role, m.name,
  i.body, i.body, m.created_at, a.embedding
FROM message_index i JOIN messages m ON m.id = i.message_id JOIN agents a ON a.id = m.agent_id
ORDER BY m.created_at, m.id
"""


def upgrade() -> None:
    connection = op.get_bind()
    metadata.create_all(connection, tables=[metadata.tables[name] for name in TABLES])
    for statement in SQLITE if connection.dialect.name == "sqlite" else POSTGRES:
        connection.exec_driver_sql(statement)
    if connection.dialect.name == "postgresql":
        _use_pgvector(connection)
    connection.exec_driver_sql(COPY)
    connection.exec_driver_sql("DROP TABLE message_index")


def _use_pgvector(connection: Connection) -> None:
    """Keep vectors in pgvector's own type where the extension can be had; plain bytes work, too."""
    wanted = "SELECT 1 FROM pg_available_extensions WHERE name = 'vector'"
    if connection.exec_driver_sql(wanted).first() is None:
        log.info("pgvector is not installed: vectors are kept as bytes and compared by this server")
        return
    try:
        with connection.begin_nested():
            connection.exec_driver_sql("CREATE EXTENSION IF NOT EXISTS vector")
            connection.exec_driver_sql("ALTER TABLE vectors ADD COLUMN embedding vector")
    except DBAPIError as error:
        # Not everybody may create extensions.
        log.warning("pgvector cannot be used, vectors are kept as bytes: %s", error.orig)
