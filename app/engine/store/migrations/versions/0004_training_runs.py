"""Training runs: the queue, who holds which, and what came of each. No id is ever used again."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "training_runs",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("collection_key", sa.Integer, sa.ForeignKey("collections.key"), nullable=False),
        sa.Column("collection", sa.Text, nullable=False),
        sa.Column("request", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("cancelling", sa.Boolean, nullable=False),
        sa.Column("created_at", sa.Text, nullable=False),
        sa.Column("started_at", sa.Text),
        sa.Column("ended_at", sa.Text),
        sa.Column("leased_by", sa.Text),
        sa.Column("leased_until", sa.Text),
        sa.Column("pid", sa.Integer),
        sa.Column("pid_started", sa.BigInteger),
        sa.Column("progress", sa.Text),
        sa.Column("log", sa.Text, nullable=False),
        sa.Column("release", sa.Text),
        sa.Column("gate", sa.Text),
        sa.Column("error", sa.Text),
        sa.Column("announced", sa.Boolean, nullable=False),
        sa.Column("checksum", sa.BigInteger, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_training_runs_state", "training_runs", ["state", "id"])
    op.create_index("ix_training_runs_announced", "training_runs", ["announced", "id"])
