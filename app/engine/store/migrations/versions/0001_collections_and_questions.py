"""Collections and questions.

A question's row is one version of it, named by the revision that wrote it; `superseded_by` is the revision
that replaced or deleted it, and null for the current version.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "collections",
        sa.Column("key", sa.Integer, primary_key=True),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("questions", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.Text, nullable=False),
        sa.Column("checksum", sa.BigInteger, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "questions",
        sa.Column("collection_key", sa.Integer, sa.ForeignKey("collections.key"), primary_key=True),
        sa.Column("revision", sa.BigInteger, primary_key=True),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("superseded_by", sa.BigInteger),
        sa.Column("quarantined", sa.Text),
        sa.Column("checksum", sa.BigInteger, nullable=False),
    )
    current = sa.text("superseded_by IS NULL")
    replaced = sa.text("superseded_by IS NOT NULL")
    op.create_index(
        "ix_questions_id",
        "questions",
        ["collection_key", "id"],
        unique=True,
        sqlite_where=current,
        postgresql_where=current,
    )
    op.create_index(
        "ix_questions_digest",
        "questions",
        ["collection_key", "digest"],
        sqlite_where=current,
        postgresql_where=current,
    )
    op.create_index("ix_questions_versions", "questions", ["collection_key", "id"])
    op.create_index(
        "ix_questions_superseded_by",
        "questions",
        ["collection_key", "superseded_by"],
        sqlite_where=replaced,
        postgresql_where=replaced,
    )
    quarantined = sa.text("quarantined IS NOT NULL")
    op.create_index(
        "ix_questions_quarantined",
        "questions",
        ["collection_key"],
        sqlite_where=quarantined,
        postgresql_where=quarantined,
    )
