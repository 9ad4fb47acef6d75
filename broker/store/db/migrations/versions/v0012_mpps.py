"""Modality Performed Procedure Steps, their messages, and the scheduled steps they mean."""

import sqlalchemy as sa
from alembic import op

from broker.store.schema.base import BIG

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "mpps",
        sa.Column("id", BIG, nullable=False),
        sa.Column("sop_instance_uid", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("linking", sa.String(), nullable=False),
        sa.Column("calling_ae", sa.String(), nullable=False),
        sa.Column("station", sa.String(), nullable=False),
        sa.Column("modality", sa.String(), nullable=False),
        sa.Column("started_at", sa.Float(), nullable=False),
        sa.Column("ended_at", sa.Float(), nullable=True),
        sa.Column("document", sa.String(), nullable=False),
        sa.Column("findings", sa.String(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_mpps"),
        sa.UniqueConstraint("sop_instance_uid", name="uq_mpps_sop_instance_uid"),
    )
    op.create_index("ix_mpps_status", "mpps", ["status"])
    op.create_index("ix_mpps_linking", "mpps", ["linking"])
    op.create_table(
        "mpps_message",
        sa.Column("id", BIG, nullable=False),
        sa.Column("mpps", BIG, nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("calling_ae", sa.String(), nullable=False),
        sa.Column("transfer_syntax_uid", sa.String(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_mpps_message"),
        sa.ForeignKeyConstraint(["mpps"], ["mpps.id"], name="fk_mpps_message_mpps"),
    )
    op.create_index("ix_mpps_message_mpps", "mpps_message", ["mpps"])
    op.create_table(
        "mpps_link",
        sa.Column("mpps", BIG, nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("step", BIG, nullable=True),
        sa.Column("reason", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("mpps", "position", name="pk_mpps_link"),
        sa.ForeignKeyConstraint(["mpps"], ["mpps.id"], name="fk_mpps_link_mpps"),
        sa.ForeignKeyConstraint(["step"], ["scheduled_step.id"], name="fk_mpps_link_step"),
    )
    op.create_index("ix_mpps_link_step", "mpps_link", ["step"])
