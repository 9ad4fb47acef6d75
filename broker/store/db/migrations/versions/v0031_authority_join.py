"""Notes that rows under the universal ID of an authority get its namespace in small steps."""

import sqlalchemy as sa
from alembic import op

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "authority_join",
        sa.Column("use", sa.String(), nullable=False),
        sa.Column("universal_id", sa.String(), nullable=False),
        sa.Column("namespace", sa.String(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("use", "universal_id", name="pk_authority_join"),
    )
    op.create_table(
        "kept_apart",
        sa.Column("universal_id", sa.String(), nullable=False),
        sa.Column("patient_id", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("universal_id", "patient_id", name="pk_kept_apart"),
    )
