"""The first schema: configuration, HL7 journal, orders and worklist, received objects, the queue."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "audit",
        sa.Column("id", BIG, nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("object_kind", sa.String(), nullable=False),
        sa.Column("object_id", BIG, nullable=False),
        sa.Column("detail", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
    )
    op.create_index(op.f("ix_audit_at"), "audit", ["at"], unique=False)
    op.create_table(
        "configuration",
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("document", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "version", name=op.f("pk_configuration")),
    )
    op.create_table(
        "instance",
        sa.Column("id", BIG, nullable=False),
        sa.Column("sop_instance_uid", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("sop_class_uid", sa.String(), nullable=False),
        sa.Column("transfer_syntax_uid", sa.String(), nullable=False),
        sa.Column("study_instance_uid", sa.String(), nullable=False),
        sa.Column("series_instance_uid", sa.String(), nullable=False),
        sa.Column("calling_ae", sa.String(), nullable=False),
        sa.Column("called_ae", sa.String(), nullable=False),
        sa.Column("peer", sa.String(), nullable=False),
        sa.Column("path", sa.String(), nullable=False),
        sa.Column("data_offset", sa.Integer(), nullable=False),
        sa.Column("data_length", BIG, nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("received_at", sa.Float(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("rules_version", sa.Integer(), nullable=False),
        sa.Column("trace", sa.String(), nullable=False),
        sa.Column("facts", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_instance")),
        sa.UniqueConstraint("sop_instance_uid", "version", name=op.f("uq_instance_sop_instance_uid_version")),
    )
    op.create_index(op.f("ix_instance_received_at"), "instance", ["received_at"], unique=False)
    op.create_index(op.f("ix_instance_state"), "instance", ["state"], unique=False)
    op.create_index(op.f("ix_instance_study_instance_uid"), "instance", ["study_instance_uid"], unique=False)
    op.create_table(
        "job",
        sa.Column("id", BIG, nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("lane", sa.String(), nullable=False),
        sa.Column("subject", BIG, nullable=False),
        sa.Column("group_key", sa.String(), nullable=True),
        sa.Column("detail", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("due_at", sa.Float(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("lease_owner", sa.String(), nullable=False),
        sa.Column("lease_until", sa.Float(), nullable=False),
        sa.Column("fence", BIG, nullable=False),
        sa.Column("last_error", sa.String(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("done_at", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job")),
        sa.UniqueConstraint("kind", "lane", "subject", name=op.f("uq_job_kind_lane_subject")),
    )
    op.create_index(
        "ix_job_due",
        "job",
        ["lane", "due_at", "id"],
        unique=False,
        sqlite_where=sa.text("state = 'ready'"),
        postgresql_where=sa.text("state = 'ready'"),
    )
    op.create_index(
        "ix_job_group",
        "job",
        ["lane", "group_key", "id"],
        unique=False,
        sqlite_where=sa.text("group_key is not null"),
        postgresql_where=sa.text("group_key is not null"),
    )
    op.create_index(
        "ix_job_lease",
        "job",
        ["lease_until"],
        unique=False,
        sqlite_where=sa.text("state = 'leased'"),
        postgresql_where=sa.text("state = 'leased'"),
    )
    op.create_index("ix_job_state", "job", ["state", "lane"], unique=False)
    op.create_table(
        "knock",
        sa.Column("ae_title", sa.String(), nullable=False),
        sa.Column("address", sa.String(), nullable=False),
        sa.Column("first_at", sa.Float(), nullable=False),
        sa.Column("last_at", sa.Float(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("ae_title", "address", name=op.f("pk_knock")),
    )
    op.create_table(
        "lane",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("open_until", sa.Float(), nullable=False),
        sa.Column("last_error", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_lane")),
    )
    op.create_table(
        "message",
        sa.Column("id", BIG, nullable=False),
        sa.Column("received_at", sa.Float(), nullable=False),
        sa.Column("listener", sa.String(), nullable=False),
        sa.Column("peer", sa.String(), nullable=False),
        sa.Column("sender", sa.String(), nullable=False),
        sa.Column("control_id", sa.String(), nullable=False),
        sa.Column("message_type", sa.String(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("raw", sa.LargeBinary(), nullable=False),
        sa.Column("accepted", sa.Boolean(), nullable=False),
        sa.Column("answer_code", sa.String(), nullable=False),
        sa.Column("answer", sa.LargeBinary(), nullable=False),
        sa.Column("note", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_message")),
    )
    op.create_index(op.f("ix_message_received_at"), "message", ["received_at"], unique=False)
    op.create_index(
        "uq_message_accepted",
        "message",
        ["sender", "control_id", "digest"],
        unique=True,
        sqlite_where=sa.text("accepted"),
        postgresql_where=sa.text("accepted"),
    )
    op.create_table(
        "patient",
        sa.Column("id", BIG, nullable=False),
        sa.Column("patient_id", sa.String(), nullable=False),
        sa.Column("issuer", sa.String(), nullable=False),
        sa.Column("attributes", sa.String(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_patient")),
        sa.UniqueConstraint("patient_id", "issuer", name=op.f("uq_patient_patient_id_issuer")),
    )
    op.create_table(
        "service_request",
        sa.Column("id", BIG, nullable=False),
        sa.Column("patient", BIG, nullable=False),
        sa.Column("placer_number", sa.String(), nullable=False),
        sa.Column("placer_issuer", sa.String(), nullable=False),
        sa.Column("filler_number", sa.String(), nullable=False),
        sa.Column("filler_issuer", sa.String(), nullable=False),
        sa.Column("accession", sa.String(), nullable=False),
        sa.Column("attributes", sa.String(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["patient"], ["patient.id"], name=op.f("fk_service_request_patient")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_service_request")),
    )
    op.create_index(op.f("ix_service_request_accession"), "service_request", ["accession"], unique=False)
    op.create_index(op.f("ix_service_request_filler_number"), "service_request", ["filler_number"], unique=False)
    op.create_index(op.f("ix_service_request_patient"), "service_request", ["patient"], unique=False)
    op.create_index(op.f("ix_service_request_placer_number"), "service_request", ["placer_number"], unique=False)
    op.create_table(
        "requested_procedure",
        sa.Column("id", BIG, nullable=False),
        sa.Column("request", BIG, nullable=False),
        sa.Column("requested_procedure_id", sa.String(), nullable=False),
        sa.Column("study_instance_uid", sa.String(), nullable=False),
        sa.Column("attributes", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["request"], ["service_request.id"], name=op.f("fk_requested_procedure_request")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_requested_procedure")),
        sa.UniqueConstraint(
            "request",
            "requested_procedure_id",
            name=op.f("uq_requested_procedure_request_requested_procedure_id"),
        ),
        sa.UniqueConstraint("study_instance_uid", name=op.f("uq_requested_procedure_study_instance_uid")),
    )
    op.create_table(
        "scheduled_step",
        sa.Column("id", BIG, nullable=False),
        sa.Column("procedure", BIG, nullable=False),
        sa.Column("step_id", sa.String(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("status_at", sa.Float(), nullable=False),
        sa.Column("start_at", sa.String(), nullable=False),
        sa.Column("modality", sa.String(), nullable=False),
        sa.Column("patient_id", sa.String(), nullable=False),
        sa.Column("patient_name", sa.String(), nullable=False),
        sa.Column("accession", sa.String(), nullable=False),
        sa.Column("requested_procedure_id", sa.String(), nullable=False),
        sa.Column("study_instance_uid", sa.String(), nullable=False),
        sa.Column("attributes", sa.String(), nullable=False),
        sa.Column("answer", sa.String(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["procedure"], ["requested_procedure.id"], name=op.f("fk_scheduled_step_procedure")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_scheduled_step")),
        sa.UniqueConstraint("procedure", "step_id", name=op.f("uq_scheduled_step_procedure_step_id")),
    )
    op.create_index(op.f("ix_scheduled_step_accession"), "scheduled_step", ["accession"], unique=False)
    op.create_index(op.f("ix_scheduled_step_patient_id"), "scheduled_step", ["patient_id"], unique=False)
    op.create_index(op.f("ix_scheduled_step_patient_name"), "scheduled_step", ["patient_name"], unique=False)
    op.create_index(
        op.f("ix_scheduled_step_requested_procedure_id"),
        "scheduled_step",
        ["requested_procedure_id"],
        unique=False,
    )
    op.create_index("ix_scheduled_step_start", "scheduled_step", ["status", "start_at"], unique=False)
    op.create_index(
        op.f("ix_scheduled_step_study_instance_uid"), "scheduled_step", ["study_instance_uid"], unique=False
    )
    op.create_table(
        "step_station",
        sa.Column("step", BIG, nullable=False),
        sa.Column("ae_title", sa.String(), nullable=False),
        sa.Column("start_at", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["step"], ["scheduled_step.id"], name=op.f("fk_step_station_step")),
        sa.PrimaryKeyConstraint("step", "ae_title", name=op.f("pk_step_station")),
    )
    op.create_index("ix_step_station_search", "step_station", ["ae_title", "start_at"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_step_station_search", table_name="step_station")
    op.drop_table("step_station")
    op.drop_index(op.f("ix_scheduled_step_study_instance_uid"), table_name="scheduled_step")
    op.drop_index("ix_scheduled_step_start", table_name="scheduled_step")
    op.drop_index(op.f("ix_scheduled_step_requested_procedure_id"), table_name="scheduled_step")
    op.drop_index(op.f("ix_scheduled_step_patient_name"), table_name="scheduled_step")
    op.drop_index(op.f("ix_scheduled_step_patient_id"), table_name="scheduled_step")
    op.drop_index(op.f("ix_scheduled_step_accession"), table_name="scheduled_step")
    op.drop_table("scheduled_step")
    op.drop_table("requested_procedure")
    op.drop_index(op.f("ix_service_request_placer_number"), table_name="service_request")
    op.drop_index(op.f("ix_service_request_patient"), table_name="service_request")
    op.drop_index(op.f("ix_service_request_filler_number"), table_name="service_request")
    op.drop_index(op.f("ix_service_request_accession"), table_name="service_request")
    op.drop_table("service_request")
    op.drop_table("patient")
    op.drop_index(
        "uq_message_accepted",
        table_name="message",
        sqlite_where=sa.text("accepted"),
        postgresql_where=sa.text("accepted"),
    )
    op.drop_index(op.f("ix_message_received_at"), table_name="message")
    op.drop_table("message")
    op.drop_table("lane")
    op.drop_table("knock")
    op.drop_index("ix_job_state", table_name="job")
    op.drop_index(
        "ix_job_lease",
        table_name="job",
        sqlite_where=sa.text("state = 'leased'"),
        postgresql_where=sa.text("state = 'leased'"),
    )
    op.drop_index(
        "ix_job_group",
        table_name="job",
        sqlite_where=sa.text("group_key is not null"),
        postgresql_where=sa.text("group_key is not null"),
    )
    op.drop_index(
        "ix_job_due",
        table_name="job",
        sqlite_where=sa.text("state = 'ready'"),
        postgresql_where=sa.text("state = 'ready'"),
    )
    op.drop_table("job")
    op.drop_index(op.f("ix_instance_study_instance_uid"), table_name="instance")
    op.drop_index(op.f("ix_instance_state"), table_name="instance")
    op.drop_index(op.f("ix_instance_received_at"), table_name="instance")
    op.drop_table("instance")
    op.drop_table("configuration")
    op.drop_index(op.f("ix_audit_at"), table_name="audit")
    op.drop_table("audit")
