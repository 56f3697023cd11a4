"""Label requests go: a label that is written again changes nothing, so that no answer has to be kept."""

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.drop_table("label_requests")
