"""What a collection promises, which pairs were offered for review, and what releases and people said of them.

Offers are known by the pair's digest, as labels are; nothing of the texts stands there. `asked` is the only table that
keeps texts that nobody stored, where SAMEASK_REMEMBER_ASKED is on.
"""

import sqlalchemy as sa
from alembic import op

from app.engine.store.mapper import is_sound, sealed

revision = "0009"
down_revision = "0008"

ADDED = ("target_precision", "review_recall", "url_template")


def upgrade() -> None:
    """Add the columns, whose rows get new checksums, and the tables."""
    op.add_column("collections", sa.Column("target_precision", sa.Float))
    op.add_column("collections", sa.Column("review_recall", sa.Float))
    op.add_column("collections", sa.Column("url_template", sa.Text))
    _seal_anew()
    _create(
        "offers",
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("pair", sa.LargeBinary, nullable=False),
        sa.Column("stratum", sa.Text, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("offered_by", sa.Text, nullable=False),
        sa.Column("probability", sa.Float, nullable=False),
        sa.Column("offered_at", sa.Text, nullable=False),
        sa.Column("skipped_by", sa.Text),
        sa.Column("skipped_at", sa.Text),
    )
    op.create_index("ix_offers_pair", "offers", ["collection_key", "pair"], unique=True)
    _create(
        "pair_scores",
        sa.Column("release", sa.Text, primary_key=True),
        sa.Column("pair", sa.LargeBinary, primary_key=True),
        sa.Column("probability", sa.Float, nullable=False),
    )
    _create(
        "derived_thresholds",
        sa.Column("release", sa.Text, primary_key=True),
        sa.Column("duplicate", sa.Float),
        sa.Column("review", sa.Float, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("review_source", sa.Text, nullable=False),
        sa.Column("derived_at", sa.Text, nullable=False),
        sa.Column("population", sa.LargeBinary, nullable=False),
    )
    _create(
        "asked",
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("asked_at", sa.Text, nullable=False),
    )


def _create(table: str, *columns: sa.Column[object]) -> None:
    key = sa.Column(
        "collection_key", sa.Integer, sa.ForeignKey("collections.key"), primary_key=True
    )
    checksum = sa.Column("checksum", sa.BigInteger, nullable=False)
    op.create_table(table, key, *columns, checksum)


def _seal_anew() -> None:
    """The checksums of sound rows, over the new columns too."""
    connection = op.get_bind()
    collections = sa.Table("collections", sa.MetaData(), autoload_with=connection)
    for row in connection.execute(sa.select(collections)).mappings().all():
        before = {name: value for name, value in row.items() if name not in ADDED}
        if is_sound(before):
            checksum = sealed(row)["checksum"]
            same = collections.c.key == row["key"]
            connection.execute(sa.update(collections).where(same).values(checksum=checksum))
