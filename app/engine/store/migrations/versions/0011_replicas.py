"""On PostgreSQL: the processes that answer over the database, and by which tables of vectors each does."""

from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Nothing, in a file of SQLite: one process alone answers over it."""
    if op.get_context().dialect.name == "postgresql":
        op.execute(
            "CREATE TABLE replicas ("
            ' id text COLLATE "C" PRIMARY KEY,'
            ' serves text[] COLLATE "C" NOT NULL,'
            " seen_at timestamptz NOT NULL)"
        )
