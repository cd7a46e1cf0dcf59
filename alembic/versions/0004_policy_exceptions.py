"""policy exceptions and overridden lints"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "policy_revision",
        sa.Column("overrides", postgresql.JSONB(), server_default=sa.text("'[]'"), nullable=False),
    )
    op.create_table(
        "policy_exception",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("layer", sa.String(length=16), nullable=False),
        sa.Column("school_id", sa.BigInteger(), nullable=True),
        sa.Column("class_id", sa.BigInteger(), nullable=True),
        sa.Column("device_id", sa.BigInteger(), nullable=True),
        sa.Column("place", sa.String(length=110), nullable=False),
        sa.Column("document", postgresql.JSONB(), nullable=False),
        sa.Column("reason", sa.String(length=400), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("requested_by", sa.BigInteger(), nullable=False),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("decided_by", sa.BigInteger(), nullable=True),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["school_id"], ["school.id"]),
        sa.ForeignKeyConstraint(["class_id"], ["school_class.id"]),
        sa.ForeignKeyConstraint(["device_id"], ["device.id"]),
        sa.ForeignKeyConstraint(["requested_by"], ["operator.id"]),
        sa.ForeignKeyConstraint(["decided_by"], ["operator.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "ix_policy_exception_open",
        "policy_exception",
        ["state"],
        postgresql_where=sa.text("state IN ('pending', 'active')"),
    )
    op.create_table(
        "policy_turn",
        sa.Column("device_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["device_id"], ["device.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("device_id"),
    )
    op.create_index(op.f("ix_policy_turn_at"), "policy_turn", ["at"])


def downgrade() -> None:
    op.drop_table("policy_turn")
    op.drop_table("policy_exception")
    op.drop_column("policy_revision", "overrides")
