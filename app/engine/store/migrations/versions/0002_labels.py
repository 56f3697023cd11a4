"""Labels, and the requests that made them.

A label's row is what one person said of one pair; it ends when it is undone or replaced, and stays. The pair is
known by the digests of its normalised texts, the lesser first: `pair` is both, `digest1` and `digest2` are each.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "labels",
        sa.Column("collection_key", sa.Integer, sa.ForeignKey("collections.key"), primary_key=True),
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("pair", sa.LargeBinary, nullable=False),
        sa.Column("digest1", sa.LargeBinary, nullable=False),
        sa.Column("digest2", sa.LargeBinary, nullable=False),
        sa.Column("question1", sa.Text, nullable=False),
        sa.Column("question2", sa.Text, nullable=False),
        sa.Column("is_duplicate", sa.Boolean, nullable=False),
        sa.Column("said_by", sa.Text, nullable=False),
        sa.Column("said_at", sa.Text, nullable=False),
        sa.Column("note", sa.Text),
        sa.Column("ended_by", sa.Text),
        sa.Column("ended_at", sa.Text),
        sa.Column("replaced_by", sa.BigInteger),
        sa.Column("contradicted", sa.Boolean, nullable=False),
        sa.Column("checksum", sa.BigInteger, nullable=False),
    )
    active = sa.text("ended_at IS NULL")
    op.create_index(
        "ix_labels_pair",
        "labels",
        ["collection_key", "pair", "said_by"],
        unique=True,
        sqlite_where=active,
        postgresql_where=active,
    )
    for digest in ("digest1", "digest2"):
        op.create_index(
            f"ix_labels_{digest}",
            "labels",
            ["collection_key", digest],
            sqlite_where=active,
            postgresql_where=active,
        )
    op.create_index("ix_labels_said_by", "labels", ["collection_key", "said_by", "id"])
    op.create_index("ix_labels_is_duplicate", "labels", ["collection_key", "is_duplicate", "id"])
    op.create_index(
        "ix_labels_contradicted",
        "labels",
        ["collection_key", "id"],
        sqlite_where=sa.text("contradicted = 1"),
        postgresql_where=sa.text("contradicted"),
    )
    op.create_table(
        "label_requests",
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("collection_key", sa.Integer, sa.ForeignKey("collections.key"), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary, nullable=False),
        sa.Column("answer", sa.Text, nullable=False),
        sa.Column("answered_at", sa.Text, nullable=False),
        sa.Column("checksum", sa.BigInteger, nullable=False),
    )
    op.create_index(
        "ix_label_requests_answered_at", "label_requests", ["collection_key", "answered_at"]
    )
