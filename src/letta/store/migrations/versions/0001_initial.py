"""The first schema."""

from alembic import op

from letta.store.tables import metadata

revision = "0001"
down_revision = None

MESSAGE_INDEX = {
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
"""The full-text index of the first schema; the second has another."""


def upgrade() -> None:
    connection = op.get_bind()
    metadata.create_all(connection)
    for statement in MESSAGE_INDEX[connection.dialect.name]:
        connection.exec_driver_sql(statement)
