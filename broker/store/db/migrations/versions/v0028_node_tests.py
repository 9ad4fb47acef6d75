"""Tests of nodes are kept; a knock names a wrong called AE title and its share; idempotency keys need no order."""

import sqlalchemy as sa
from alembic import op

from broker.store.schema.base import BIG

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "node_test",
        sa.Column("id", BIG, nullable=False),
        sa.Column("node", sa.String(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("good", sa.Boolean(), nullable=False),
        sa.Column("duration", sa.Float(), nullable=False),
        sa.Column("steps", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_node_test"),
    )
    op.create_index("ix_node_test_node", "node_test", ["node"])
    op.add_column("knock", sa.Column("called", sa.String(), nullable=False, server_default=sa.text("''")))
    op.add_column("knock", sa.Column("share", sa.String(), nullable=False, server_default=sa.text("''")))
    op.execute("UPDATE knock SET share = address")
    with op.batch_alter_table("idempotency") as idempotency:
        idempotency.alter_column("request", existing_type=BIG, nullable=True)
