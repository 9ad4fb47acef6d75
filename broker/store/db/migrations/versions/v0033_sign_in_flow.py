"""A sign-in of several parts outlives a restart."""

import sqlalchemy as sa
from alembic import op

from broker.store.schema.base import BIG

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "sign_in_flow",
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("method", sa.String(), nullable=False),
        sa.Column("user", BIG, nullable=True),
        sa.Column("next_path", sa.String(), nullable=False),
        sa.Column("began_at", sa.Float(), nullable=False),
        sa.Column("expires_at", sa.Float(), nullable=False),
        sa.Column("wrong", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_sign_in_flow"),
    )
    op.create_index("ix_sign_in_flow_expires_at", "sign_in_flow", ["expires_at"])
    op.create_index("ix_sign_in_flow_kind_began_at", "sign_in_flow", ["kind", "began_at"])
