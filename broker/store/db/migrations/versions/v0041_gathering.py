"""Series and studies that wait until they are complete; performed procedure steps are found by their study."""

import sqlalchemy as sa
from alembic import op

from broker.store.schema.base import BIG

revision = "0041"
down_revision = "0040"
branch_labels = None
depends_on = None

UNDONE = sa.text("state <> 'done'")
NAMED = sa.text("study_instance_uid <> ''")


def upgrade() -> None:
    op.create_table(
        "gathering",
        sa.Column("study_instance_uid", sa.String(), nullable=False),
        sa.Column("series_instance_uid", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("arrived", sa.Integer(), nullable=False),
        sa.Column("instances", sa.Integer(), nullable=False),
        sa.Column("first_at", sa.Float(), nullable=False),
        sa.Column("opened_at", sa.Float(), nullable=False),
        sa.Column("last_at", sa.Float(), nullable=False),
        sa.Column("due_at", sa.Float(), nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("expected", sa.Integer(), nullable=True),
        sa.Column("ended", sa.Integer(), nullable=False, server_default="-1"),
        sa.Column("again", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("person", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("waits", sa.String(), nullable=False, server_default=""),
        sa.Column("complete", sa.String(), nullable=False, server_default=""),
        sa.Column("rules_version", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("trace", sa.String(), nullable=False, server_default="[]"),
        sa.Column("facts", sa.String(), nullable=False, server_default="{}"),
        sa.Column("applied_to", BIG, nullable=False, server_default="0"),
        sa.Column("judged_at", sa.Float(), nullable=True),
        sa.Column("judged_to", BIG, nullable=False, server_default="0"),
        sa.Column("sent_to", sa.String(), nullable=False, server_default="[]"),
        sa.PrimaryKeyConstraint("study_instance_uid", "series_instance_uid", name="pk_gathering"),
    )
    op.create_index("ix_gathering_due", "gathering", ["due_at"], sqlite_where=UNDONE, postgresql_where=UNDONE)
    op.create_index(
        "ix_mpps_link_study", "mpps_link", ["study_instance_uid"], sqlite_where=NAMED, postgresql_where=NAMED
    )
