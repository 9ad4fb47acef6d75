"""Objects that are kept back however late they come, and which performed procedure steps were compared with objects."""

import sqlalchemy as sa
from alembic import op

from broker.store.schema.base import BIG

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

OPEN = sa.text("status = 'COMPLETED' AND compared_at IS NULL")


def upgrade() -> None:
    op.create_table(
        "kept_back",
        sa.Column("sop_instance_uid", sa.String(), nullable=False),
        sa.Column("mpps", BIG, nullable=False),
        sa.PrimaryKeyConstraint("sop_instance_uid", name="pk_kept_back"),
        sa.ForeignKeyConstraint(["mpps"], ["mpps.id"], name="fk_kept_back_mpps"),
    )
    op.add_column("mpps", sa.Column("compared_at", sa.Float(), nullable=True))
    op.execute("UPDATE mpps SET compared_at = updated_at WHERE status = 'COMPLETED'")  # what is past raises no alarm
    op.create_index("ix_mpps_compared_at", "mpps", ["updated_at"], sqlite_where=OPEN, postgresql_where=OPEN)
