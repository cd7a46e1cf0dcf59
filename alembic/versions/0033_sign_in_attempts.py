"""sign-in attempts"""

import sqlalchemy as sa
from alembic import op

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "sign_in_attempt",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("sign_in_attempt_recent", "sign_in_attempt", ["key", "at"])
    op.create_index("ix_sign_in_attempt_at", "sign_in_attempt", ["at"])


def downgrade() -> None:
    op.drop_table("sign_in_attempt")
