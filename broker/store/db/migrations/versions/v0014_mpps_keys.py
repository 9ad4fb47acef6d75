"""Keeps what a performed procedure step makes of its scheduled ones, why a person must look, and keys of its items."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0012"
branch_labels = None
depends_on = None

EMPTY = sa.text("''")
WAITS = sa.text("step IS NULL")  # only what an order that comes later may find


def upgrade() -> None:
    for table, columns in (
        ("mpps", ("outcome", "attention")),
        ("mpps_link", ("study_instance_uid", "accession", "requested_procedure_id")),
    ):
        for name in columns:
            op.add_column(table, sa.Column(name, sa.String(), nullable=False, server_default=EMPTY))
    op.create_index("ix_mpps_attention", "mpps", ["attention"])
    for name in ("study_instance_uid", "accession", "requested_procedure_id"):
        op.create_index(f"ix_mpps_link_{name}", "mpps_link", [name], sqlite_where=WAITS, postgresql_where=WAITS)
