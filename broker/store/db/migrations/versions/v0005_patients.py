"""Retired identifiers of patients, visits, and how new what each sender said of them was."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("patient", sa.Column("aliases", sa.String(), server_default="[]", nullable=False))
    op.create_table(
        "patient_alias",
        sa.Column("id", BIG, nullable=False),
        sa.Column("patient_id", sa.String(), nullable=False),
        sa.Column("issuer", sa.String(), nullable=False),
        sa.Column("patient", BIG, nullable=False),
        sa.Column("retired_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["patient"], ["patient.id"], name=op.f("fk_patient_alias_patient")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_patient_alias")),
        sa.UniqueConstraint("patient_id", "issuer", name=op.f("uq_patient_alias_patient_id_issuer")),
    )
    op.create_index(op.f("ix_patient_alias_patient"), "patient_alias", ["patient"])
    op.create_table(
        "visit",
        sa.Column("id", BIG, nullable=False),
        sa.Column("patient", BIG, nullable=False),
        sa.Column("admission_id", sa.String(), nullable=False),
        sa.Column("issuer", sa.String(), nullable=False),
        sa.Column("location", sa.String(), nullable=False),
        sa.Column("patient_class", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("opened_at", sa.Float(), nullable=False),
        sa.Column("closed_at", sa.Float(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["patient"], ["patient.id"], name=op.f("fk_visit_patient")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_visit")),
        sa.UniqueConstraint("patient", "admission_id", "issuer", name=op.f("uq_visit_patient_admission_id_issuer")),
    )
    op.create_table(
        "heard",
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("subject", BIG, autoincrement=False, nullable=False),
        sa.Column("sender", sa.String(), nullable=False),
        sa.Column("event_at", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "subject", "sender", name=op.f("pk_heard")),
    )
