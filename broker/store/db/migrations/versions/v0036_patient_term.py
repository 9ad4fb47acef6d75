"""People find patients by words of their names. `orders.term_walk` writes those of known patients in small steps."""

import sqlalchemy as sa
from alembic import op

from broker.store.schema.base import BIG, BYTES

revision = "0036"
down_revision = "0035"
branch_labels = None
depends_on = None

UNFINDABLE = sa.text("NOT findable")


def upgrade() -> None:
    op.create_table(
        "patient_term",
        sa.Column("patient", BIG, nullable=False),
        sa.Column("term", BYTES, nullable=False),
        sa.PrimaryKeyConstraint("patient", "term", name="pk_patient_term"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_patient_term_term", "patient_term", ["term", "patient"])
    op.add_column("patient", sa.Column("findable", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_index("ix_patient_unfindable", "patient", ["id"], sqlite_where=UNFINDABLE, postgresql_where=UNFINDABLE)
