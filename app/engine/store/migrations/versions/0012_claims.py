"""Who looks at which pair of the review queue, and until when: for a minute, so that nothing is carried over."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Add the table."""
    text = sa.Text(collation="C") if op.get_context().dialect.name == "postgresql" else sa.Text()
    op.create_table(
        "claims",
        sa.Column("collection_key", sa.Integer, sa.ForeignKey("collections.key"), primary_key=True),
        sa.Column("pair", sa.LargeBinary, primary_key=True),
        sa.Column("claimed_by", text, nullable=False),
        sa.Column("place", sa.Float, nullable=False),
        sa.Column("until", sa.Float, nullable=False),
        sa.Column("checksum", sa.BigInteger, nullable=False),
    )
