"""Where an order came from, so that feedback can be limited to the orders of some senders."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("service_request", sa.Column("source", sa.String(), nullable=False, server_default=sa.text("''")))
