"""The first schema."""

from alembic import op

from letta.store.search import CREATE
from letta.store.tables import metadata

revision = "0001"
down_revision = None


def upgrade() -> None:
    connection = op.get_bind()
    metadata.create_all(connection)
    for statement in CREATE[connection.dialect.name]:
        connection.exec_driver_sql(statement)
