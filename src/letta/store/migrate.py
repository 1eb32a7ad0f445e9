"""Bring a database to the current schema with Alembic. Imported only when there is something to do."""

from pathlib import Path

from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from letta.errors import InvalidRequest
from letta.store.tables import metadata

MIGRATIONS = Path(__file__).parent / "migrations"


def scripts() -> ScriptDirectory:
    """The revisions shipped with this version."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    return ScriptDirectory.from_config(config)


def migrate(connection: Connection, target: str) -> None:
    """Apply every revision up to `target` in the caller's transaction.

    Raises:
        letta.errors.InvalidRequest: when the database was written by a newer version of this server.
    """
    directory = scripts()
    if connection.dialect.name == "postgresql":
        # Replicas that start together migrate one after the other.
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(731554282)")
    current = MigrationContext.configure(connection).get_current_revision()
    if current == target:
        return
    known = {script.revision for script in directory.walk_revisions()}
    if current is not None and current not in known:
        raise InvalidRequest(
            f"the database has schema revision {current}, which this version does not know: it was used by a newer "
            "server. Upgrade the server, or restore the backup made before that upgrade."
        )
    config = Config()
    with EnvironmentContext(config, directory, fn=lambda rev, _: directory._upgrade_revs(target, rev)) as environment:
        environment.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
        environment.run_migrations()
