"""On PostgreSQL: texts are compared byte by byte, as SQLite does; numbers of rows have 64 bits; and tables that hold
people's texts are vacuumed soon after something was deleted."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"

HOLD_TEXTS = ("questions", "labels", "asked", "training_runs")
DEAD_ROWS = 200  # that wait for the next look of autovacuum, each minute


def upgrade() -> None:
    """Nothing, in a file of SQLite."""
    if op.get_context().dialect.name != "postgresql":
        return
    inspector = sa.inspect(op.get_bind())
    for table in inspector.get_table_names():
        if table == "alembic_version":
            continue
        for column in inspector.get_columns(table):
            if isinstance(column["type"], sa.Text):
                op.alter_column(table, column["name"], type_=sa.Text(collation="C"))
    op.alter_column("training_runs", "id", type_=sa.BigInteger)
    op.execute("ALTER SEQUENCE training_runs_id_seq AS bigint")
    for table in HOLD_TEXTS:
        op.execute(
            f"ALTER TABLE {table} SET"
            f" (autovacuum_vacuum_threshold = {DEAD_ROWS}, autovacuum_vacuum_scale_factor = 0)"
        )
