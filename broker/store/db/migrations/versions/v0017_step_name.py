"""Names are found by the beginning of each of their groups, and beginnings by an index, whatever the collation."""

import sqlalchemy as sa
from alembic import op

from broker.store.schema.base import BIG, BYTES

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

TEXTS = {
    "scheduled_step": (
        "start_at", "patient_id", "patient_name", "accession", "requested_procedure_id", "study_instance_uid",
    ),
    "step_station": ("ae_title", "start_at"),
}  # fmt: skip


def upgrade() -> None:
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        for table, columns in TEXTS.items():
            changes = ", ".join(f'ALTER COLUMN {column} TYPE VARCHAR COLLATE "C"' for column in columns)
            op.execute(f"ALTER TABLE {table} {changes}")
    name = op.create_table(
        "step_name",
        sa.Column("step", BIG, nullable=False),
        sa.Column("words", BYTES, nullable=False),
        sa.PrimaryKeyConstraint("step", "words", name="pk_step_name"),
        sa.ForeignKeyConstraint(["step"], ["scheduled_step.id"], name="fk_step_name_step"),
    )
    op.create_index("ix_step_name_words", "step_name", ["words"])
    grouped = sa.text("SELECT id, patient_name FROM scheduled_step WHERE patient_name LIKE '%=%'")
    for part in connection.execute(grouped).partitions(1000):
        rows = [{"step": row.id, "words": words} for row in part for words in {*row.patient_name.split("=")[1:]} - {""}]
        if rows:
            connection.execute(sa.insert(name), rows)
