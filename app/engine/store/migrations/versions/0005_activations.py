"""Activations: which release was made live when, and why, and what SAMEASK_RELEASE said then."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "activations",
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("release", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("setting", sa.Text, nullable=False),
        sa.Column("activated_at", sa.Text, nullable=False),
        sa.Column("checksum", sa.BigInteger, nullable=False),
    )
