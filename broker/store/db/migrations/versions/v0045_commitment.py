"""Storage commitment: requests of modalities, requests to archives, and deliveries that are committed."""

import sqlalchemy as sa
from alembic import op

from broker.store.schema.base import BIG

revision = "0045"
down_revision = "0044"
branch_labels = None
depends_on = None

_OPEN = sa.text("state = 'open'")
_LEFT = sa.text("state = 'judged' and filed > 0")
_HAS_OBJECT = sa.text("instance <> 0")


def upgrade() -> None:
    op.create_table(
        "commitment",
        sa.Column("id", BIG, nullable=False),
        *(sa.Column(name, sa.String(), nullable=False) for name in ("transaction_uid", "node", "state")),
        *(sa.Column(name, sa.String(), nullable=False) for name in ("calling_ae", "called_ae", "peer")),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in ("repeat", "count", "looks", "filed", "committed")),
        *(sa.Column(name, sa.Float(), nullable=False) for name in ("received_at", "due_at")),
        *(sa.Column(name, sa.LargeBinary(), nullable=False) for name in ("listed", "digest", "verdict")),
        sa.Column("judged_at", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_commitment"),
        sa.UniqueConstraint("transaction_uid", "repeat", name="uq_commitment_transaction_uid_repeat"),
    )
    _index("ix_commitment_due", "commitment", "due_at", _OPEN)
    _index("ix_commitment_open", "commitment", "node", _OPEN)
    _index("ix_commitment_left", "commitment", "id", _LEFT)
    op.create_table(
        "commitment_object",
        sa.Column("commitment", BIG, nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("instance", BIG, nullable=False),
        sa.Column("reason", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("commitment", "position", name="pk_commitment_object"),
        _with("commitment_object", "commitment", "commitment"),
    )
    _index("ix_commitment_object_instance", "commitment_object", "instance", _HAS_OBJECT)
    op.create_table(
        "commitment_ask",
        *(sa.Column(name, BIG, nullable=False) for name in ("id", "commitment")),
        *(sa.Column(name, sa.String(), nullable=False) for name in ("node", "state")),
        *(sa.Column(name, sa.Float(), nullable=False) for name in ("made_at", "asked_at", "answered_at")),
        *(sa.Column(name, sa.LargeBinary(), nullable=False) for name in ("positions", "answer")),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_commitment_ask"),
        _with("commitment_ask", "commitment", "commitment"),
    )
    op.create_index("ix_commitment_ask_commitment", "commitment_ask", ["commitment"])
    op.create_table(
        "commitment_uid",
        sa.Column("transaction_uid", sa.String(), nullable=False),
        sa.Column("ask", BIG, nullable=False),
        sa.PrimaryKeyConstraint("transaction_uid", name="pk_commitment_uid"),
        _with("commitment_uid", "ask", "commitment_ask"),
    )
    op.create_index("ix_commitment_uid_ask", "commitment_uid", ["ask"])
    op.create_table(
        "committed",
        sa.Column("job", BIG, nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("job", name="pk_committed"),
        _with("committed", "job", "job"),
    )


def _index(name: str, table: str, column: str, where: sa.TextClause) -> None:
    op.create_index(name, table, [column], sqlite_where=where, postgresql_where=where)


def _with(table: str, column: str, other: str) -> sa.ForeignKeyConstraint:
    """A row goes with that of another table."""
    return sa.ForeignKeyConstraint([column], [f"{other}.id"], name=f"fk_{table}_{column}", ondelete="CASCADE")
