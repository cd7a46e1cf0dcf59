"""throughput limits"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "throttle_limit",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("school_id", sa.BigInteger(), nullable=True),
        sa.Column("value", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("set_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("set_by", sa.String(length=80), nullable=False),
        sa.Column("reason", sa.String(length=400), nullable=False),
        sa.ForeignKeyConstraint(["school_id"], ["school.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("throttle_limit_newest", "throttle_limit", ["name", "school_id", "id"])
    op.execute(
        """
        CREATE FUNCTION throttle_limit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION 'throttle_limit is append-only';
        END $$;
        CREATE TRIGGER throttle_limit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON throttle_limit
            FOR EACH STATEMENT EXECUTE FUNCTION throttle_limit_is_append_only();
        """
    )


def downgrade() -> None:
    op.drop_table("throttle_limit")
    op.execute("DROP FUNCTION throttle_limit_is_append_only")
