"""Appointments: those that wait for their order, and what each has booked."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TEXTS = (
    "state", "event", "filler_number", "filler_issuer", "placer_number", "placer_issuer", "patient_id", "issuer",
    "start_at", "steps", "slots",
)  # fmt: skip


def upgrade() -> None:
    op.create_table(
        "appointment",
        sa.Column("id", BIG, nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("sender", sa.String(), nullable=False),
        sa.Column("number", sa.String(), nullable=False),
        sa.Column("request", BIG, nullable=True),
        *(sa.Column(name, sa.String(), nullable=False) for name in TEXTS),
        sa.Column("sent_from", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["request"], ["service_request.id"], name=op.f("fk_appointment_request")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_appointment")),
    )
    for column in ("at", "patient_id", "request", "filler_number", "placer_number"):
        op.create_index(op.f(f"ix_appointment_{column}"), "appointment", [column])
