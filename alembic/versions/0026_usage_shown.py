"""which source's day is shown"""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.add_column("usage_daily", sa.Column("superseded", sa.Boolean(), server_default="false", nullable=False))
    op.execute(
        "CREATE VIEW usage_shown AS SELECT usage_date, sim_id, source, bytes_total, bytes_up, bytes_down,"
        " bytes_roaming, sessions, utc_offset, revision, updated_at FROM usage_daily WHERE NOT superseded"
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("DROP VIEW usage_shown")
    op.drop_column("usage_daily", "superseded")
