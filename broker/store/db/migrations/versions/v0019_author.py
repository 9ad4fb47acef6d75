"""Keeps who published a version of a document, and why."""

import sqlalchemy as sa
from alembic import op

from broker.store.schema.base import EMPTY

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("author", "reason"):
        op.add_column("configuration", sa.Column(name, sa.String(), nullable=False, **EMPTY))
