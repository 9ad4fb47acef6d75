"""Event log of Scheduled Procedure Steps."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "step_event",
        sa.Column("id", BIG, nullable=False),
        sa.Column("step", BIG, nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("before", sa.String(), nullable=False),
        sa.Column("after", sa.String(), nullable=False),
        sa.Column("cause", sa.String(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["step"], ["scheduled_step.id"], name=op.f("fk_step_event_step")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_step_event")),
    )
    op.create_index(op.f("ix_step_event_step"), "step_event", ["step"])
