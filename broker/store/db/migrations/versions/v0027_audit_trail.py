"""Audit rows say from where, and whom they concern; they are found by person, action, object and patient."""

import sqlalchemy as sa
from alembic import op

from broker.store.schema.base import BIG

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None

CONCERNS = sa.text("patient IS NOT NULL")


def upgrade() -> None:
    op.add_column("audit", sa.Column("address", sa.String(), nullable=False, server_default=sa.text("''")))
    op.add_column("audit", sa.Column("patient", BIG, nullable=True))
    op.execute("UPDATE audit SET patient = object_id WHERE object_kind = 'patient'")
    op.execute(
        "UPDATE audit SET patient = (SELECT patient FROM service_request WHERE service_request.id = audit.object_id)"
        " WHERE object_kind = 'order'"
    )
    op.drop_index("ix_audit_at", "audit")
    op.create_index("ix_audit_at", "audit", ["at", "id"])
    op.create_index("ix_audit_actor", "audit", ["actor", "at", "id"])
    op.create_index("ix_audit_action", "audit", ["action", "at", "id"])
    op.create_index("ix_audit_object", "audit", ["object_kind", "object_id", "at", "id"])
    op.create_index(
        "ix_audit_patient",
        "audit",
        ["patient", "at", "id"],
        sqlite_where=CONCERNS,
        postgresql_where=CONCERNS,
    )
