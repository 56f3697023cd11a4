"""Deliveries: what the webhook has to say, and how often it tried. A row that has ended stays for a while."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "deliveries",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("event", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("created_at", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("due_at", sa.Text, nullable=False),
        sa.Column("delivered_at", sa.Text),
        sa.Column("given_up_at", sa.Text),
        sa.Column("last_error", sa.Text),
        sa.Column("checksum", sa.BigInteger, nullable=False),
    )
    waiting = sa.text("delivered_at IS NULL AND given_up_at IS NULL")
    op.create_index(
        "ix_deliveries_waiting",
        "deliveries",
        ["created_at"],
        sqlite_where=waiting,
        postgresql_where=waiting,
    )
