"""lines slowed for a cycle"""

import sqlalchemy as sa
from alembic import op

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.add_column("threshold_event", sa.Column("speed", sa.String(length=32), nullable=True))
    op.add_column("threshold_event", sa.Column("speed_before", sa.String(length=32), nullable=True))
    op.add_column("threshold_event", sa.Column("lifted_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index(
        "threshold_event_slowed",
        "threshold_event",
        ["id"],
        postgresql_where=sa.text("speed IS NOT NULL AND lifted_at IS NULL"),
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_index("threshold_event_slowed", "threshold_event")
    op.drop_column("threshold_event", "lifted_at")
    op.drop_column("threshold_event", "speed_before")
    op.drop_column("threshold_event", "speed")
