"""`sameask migrate`: brings the schema of the shared database up to date."""

from app.cli.terminal import print_line
from app.engine.store import migrate_database
from app.errors import CommandError
from app.settings import Settings


def migrate() -> None:
    """Bring the schema of the database of SAMEASK_DATABASE_URL up to date, also of an empty one.

    A server over a data directory does so itself. Called by several at once, it is done once.
    """
    url = Settings().store_url
    if url is None:
        raise CommandError(
            "SAMEASK_DATABASE_URL names no database; that of a data directory is brought up to date by its server"
        )
    place, schema = migrate_database(url)
    print_line(f"the database {place} has the schema {schema}")
