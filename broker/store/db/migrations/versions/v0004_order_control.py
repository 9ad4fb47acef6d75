"""Held steps, links between orders, cancels that came before their orders, when an order was last written."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("scheduled_step", sa.Column("held", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("service_request", sa.Column("changed_by", sa.String(), server_default=sa.text("''"), nullable=False))
    for name in ("ordered_from", "sent_from"):
        op.add_column("service_request", sa.Column(name, sa.Float(), server_default=sa.text("0"), nullable=False))
    op.create_table(
        "order_link",
        sa.Column("request", BIG, nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("other", BIG, nullable=False),
        sa.ForeignKeyConstraint(["request"], ["service_request.id"], name=op.f("fk_order_link_request")),
        sa.ForeignKeyConstraint(["other"], ["service_request.id"], name=op.f("fk_order_link_other")),
        sa.PrimaryKeyConstraint("request", "kind", "other", name=op.f("pk_order_link")),
    )
    op.create_index(op.f("ix_order_link_other"), "order_link", ["other"])
    texts = (
        "actor", "control", "order_status", "placer_number", "placer_issuer", "filler_number", "filler_issuer",
        "accession", "patient_id", "issuer", "steps",
    )  # fmt: skip
    op.create_table(
        "tombstone",
        sa.Column("id", BIG, nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        *(sa.Column(name, sa.String(), nullable=False) for name in texts),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tombstone")),
    )
    for name in ("at", "patient_id", "placer_number", "filler_number", "accession"):
        op.create_index(op.f(f"ix_tombstone_{name}"), "tombstone", [name])
