"""Keeps what became of imported items that are not simply in place."""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    texts = ("source", "key", "accession", "place", "outcome", "findings")
    op.create_table(
        "import_item",
        *(sa.Column(name, sa.String(), nullable=False) for name in texts),
        sa.Column("first_at", sa.Float(), nullable=False),
        sa.Column("last_at", sa.Float(), nullable=False),
        sa.Column("times", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("source", "key", name="pk_import_item"),
    )
    op.create_index("ix_import_item_last_at", "import_item", ["last_at"])
