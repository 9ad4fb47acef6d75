"""Sent messages are journaled; a refused message can be marked as dealt with. Nothing reads the rows that are there."""

import sqlalchemy as sa
from alembic import op

from broker.store.schema.base import BIG

revision = "0035"
down_revision = "0034"
branch_labels = None
depends_on = None

EMPTY = sa.text("''")


def upgrade() -> None:
    op.add_column("message", sa.Column("dealt_at", sa.Float(), nullable=True))
    op.add_column("message", sa.Column("dealt_by", sa.String(), nullable=False, server_default=EMPTY))
    op.add_column("message", sa.Column("dealt_note", sa.String(), nullable=False, server_default=EMPTY))
    op.create_table(
        "sent_message",
        sa.Column("id", BIG, primary_key=True),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("node", sa.String(), nullable=False),
        sa.Column("request", BIG, nullable=False),
        sa.Column("job", BIG, nullable=False),
        sa.Column("event", sa.String(), nullable=False),
        sa.Column("control_id", sa.String(), nullable=False),
        sa.Column("message_type", sa.String(), nullable=False),
        sa.Column("raw", sa.LargeBinary(), nullable=False),
        sa.Column("answer_code", sa.String(), nullable=False),
        sa.Column("answer", sa.LargeBinary(), nullable=False),
        sa.Column("error", sa.String(), nullable=False),
    )
    op.create_index("ix_sent_message_at", "sent_message", ["at"])
    op.create_index("ix_sent_message_request", "sent_message", ["request", "at"])
