"""Labels are idempotent by design: no answers are kept to be given again."""

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Drop the table of answers."""
    op.drop_table("label_requests", if_exists=True)
