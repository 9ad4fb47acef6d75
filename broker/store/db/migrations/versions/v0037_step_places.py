"""Steps of one start are found in their order too: lists of steps without a start, or of a station, go on anywhere."""

from alembic import op

revision = "0037"
down_revision = "0036"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_index("ix_scheduled_step_start", "scheduled_step")
    op.create_index("ix_scheduled_step_start", "scheduled_step", ["status", "start_at", "id"])
    op.drop_index("ix_step_station_search", "step_station")
    op.create_index("ix_step_station_search", "step_station", ["ae_title", "start_at", "step"])
