"""windows of wake-ups"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("wakeup", sa.Column("closes_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("wakeup", sa.Column("payload_bytes", sa.BigInteger(), server_default="0", nullable=False))


def downgrade() -> None:
    op.drop_column("wakeup", "payload_bytes")
    op.drop_column("wakeup", "closes_at")
