"""Studies have rows of their own, with what people find them by. Those of objects that are there are made here."""

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

from broker.store.schema.base import BIG

revision = "0044"
down_revision = "0043"
branch_labels = None
depends_on = None

PAGE = 2000  # objects
_KEY = ("study", "patient_id", "accession", "modality", "calling_ae")


def upgrade() -> None:
    op.create_table(
        "study",
        sa.Column("id", BIG, nullable=False),
        sa.Column("study_instance_uid", sa.String(), nullable=False),
        sa.Column("first_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_study"),
        sa.UniqueConstraint("study_instance_uid", name="uq_study_study_instance_uid"),
    )
    op.create_table(
        "study_key",
        *(sa.Column(name, BIG if name == "study" else sa.String(), nullable=False) for name in _KEY),
        sa.PrimaryKeyConstraint(*_KEY, name="pk_study_key"),
        sa.ForeignKeyConstraint(["study"], ["study.id"], name="fk_study_key_study"),
    )
    op.create_index("ix_study_first_at", "study", ["first_at", "id"])
    op.create_index("ix_study_key_patient_id", "study_key", ["patient_id", "study"])
    op.create_index("ix_study_key_accession", "study_key", ["accession", "study"])
    _fill(op.get_bind())


def _fill(connection: sa.Connection) -> None:
    """Rows of the objects that are there, each read once."""
    study = sa.table("study", *map(sa.column, ("id", "study_instance_uid", "first_at")))
    key = sa.table("study_key", *map(sa.column, _KEY))
    old = sa.table("instance", *map(sa.column, ("id", "study_instance_uid", "received_at", "calling_ae", "facts")))
    first = sa.func.min(old.c.received_at)
    new = sa.select(old.c.study_instance_uid, first).where(old.c.study_instance_uid != "")
    grouped = new.group_by(old.c.study_instance_uid).order_by(first)
    connection.execute(sa.insert(study).from_select(["study_instance_uid", "first_at"], grouped))
    joined = sa.select(old.c.id, study.c.id, old.c.calling_ae, old.c.facts).join_from(
        old, study, study.c.study_instance_uid == old.c.study_instance_uid
    )
    after, known = 0, set[tuple[Any, ...]]()
    while page := connection.execute(joined.where(old.c.id > after).order_by(old.c.id).limit(PAGE)).all():
        after = page[-1][0]
        rows = {(row[1], *_keys(row[3], row[2])) for row in page} - known
        known |= rows
        if rows:
            connection.execute(sa.insert(key), [dict(zip(_KEY, row, strict=True)) for row in sorted(rows)])


def _keys(kept: str, calling_ae: str) -> list[str]:
    """What an object says; an early version kept it in another form."""
    found = json.loads(kept or "{}")
    facts = found if isinstance(found, dict) else {}
    values = [facts.get(name) for name in ("tag.PatientID", "tag.AccessionNumber", "tag.Modality")]
    said = ["\\".join(map(str, value)) if isinstance(value, list) else "" for value in values]
    return ["".join(filter(str.isprintable, value)).strip()[:64] for value in (*said, calling_ae)]
