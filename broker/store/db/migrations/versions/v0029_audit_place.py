"""The audit trail goes to audit repositories: how far it has been handed to the queue for each."""

import sqlalchemy as sa
from alembic import op

from broker.store.schema.base import BIG

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "audit_place",
        sa.Column("node", sa.String(), nullable=False),
        sa.Column("row", BIG, nullable=False),
        sa.PrimaryKeyConstraint("node", name="pk_audit_place"),
    )
