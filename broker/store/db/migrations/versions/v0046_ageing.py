"""Orders, performed steps, visits and patients are deleted by age: indexes for that, and who the audit trail means."""

import sqlalchemy as sa
from alembic import op

from broker.store.schema.base import BIG

revision = "0046"
down_revision = "0045"
branch_labels = None
depends_on = None

_DONE = sa.text("state = 'done'")


def upgrade() -> None:
    op.create_index("ix_gathering_done", "gathering", ["last_at"], sqlite_where=_DONE, postgresql_where=_DONE)
    op.create_index("ix_idempotency_request", "idempotency", ["request"])
    op.create_index("ix_kept_back_mpps", "kept_back", ["mpps"])
    op.create_table(
        "former_patient",
        sa.Column("patient", BIG, nullable=False),
        *(sa.Column(name, sa.String(), nullable=False) for name in ("patient_id", "issuer")),
        sa.Column("gone_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("patient", "patient_id", "issuer", name="pk_former_patient"),
    )
    op.create_index("ix_former_patient_patient_id", "former_patient", ["patient_id", "issuer"])
    op.create_index("ix_former_patient_gone_at", "former_patient", ["gone_at"])
