"""The tables, and the migrations that bring an older database up to them."""

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

metadata = sa.MetaData()  # each room adds its table


def migrate(connection: sa.Connection, revision: str = "head") -> None:
    """Bring the schema of the database to `revision`, inside the connection's transaction."""
    config = _alembic()
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def latest_schema() -> str:
    """The version of the schema that this code knows."""
    return str(ScriptDirectory.from_config(_alembic()).get_current_head())


def schema_of(connection: sa.Connection) -> str | None:
    """The version of the schema of a database; None before the first migration."""
    return MigrationContext.configure(connection).get_current_revision()


def check_columns(connection: sa.Connection) -> None:
    """Touch every column, and write: an error here would otherwise come in the middle of a request."""
    for table in metadata.sorted_tables:
        connection.execute(sa.select(table).limit(0))
    connection.exec_driver_sql("UPDATE alembic_version SET version_num = version_num")


def _alembic() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config
