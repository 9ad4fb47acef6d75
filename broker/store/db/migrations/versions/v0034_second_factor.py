"""Local accounts may have a second factor."""

import sqlalchemy as sa
from alembic import op

from broker.store.schema.base import BIG

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "second_factor",
        sa.Column("user", BIG, nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=True),
        sa.Column("since", sa.Float(), nullable=True),
        sa.Column("fresh", sa.LargeBinary(), nullable=True),
        sa.Column("fresh_at", sa.Float(), nullable=False),
        sa.Column("last_step", BIG, nullable=False),
        sa.PrimaryKeyConstraint("user", name="pk_second_factor"),
    )
    op.create_table(
        "recovery_code",
        sa.Column("id", BIG, nullable=False),
        sa.Column("user", BIG, nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("used_at", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_recovery_code"),
    )
    op.create_index("ix_recovery_code_user", "recovery_code", ["user"])
