"""thresholds and budgets"""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

APPEND_ONLY = ("safeguard_threshold", "budget_entry", "class_a_release")


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "threshold_request",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("value", sa.Integer(), nullable=False),
        sa.Column("before", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(length=400), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("requested_by", sa.BigInteger(), nullable=False),
        sa.Column("requested_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("decided_by", sa.BigInteger(), nullable=True),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state <> 'approved' OR (decided_by IS NOT NULL AND decided_by <> requested_by)",
            name="threshold_request_two_persons",
        ),
        sa.ForeignKeyConstraint(["requested_by"], ["operator.id"]),
        sa.ForeignKeyConstraint(["decided_by"], ["operator.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "safeguard_threshold",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("value", sa.Integer(), nullable=False),
        sa.Column("set_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("set_by", sa.String(length=80), nullable=False),
        sa.Column("approved_by", sa.String(length=80), nullable=True),
        sa.Column("request_id", sa.Uuid(), nullable=True),
        sa.Column("reason", sa.String(length=400), nullable=False),
        sa.CheckConstraint("approved_by <> set_by", name="safeguard_threshold_two_persons"),
        sa.CheckConstraint(
            "(approved_by IS NULL) = (request_id IS NULL)", name="safeguard_threshold_approved_request"
        ),
        sa.ForeignKeyConstraint(["request_id"], ["threshold_request.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("safeguard_threshold_newest", "safeguard_threshold", ["name", "id"])
    op.create_table(
        "budget_entry",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("statement_timestamp()"), nullable=False),
        sa.Column("pot", sa.String(length=16), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=True),
        sa.Column("school_id", sa.BigInteger(), nullable=True),
        sa.Column("device_id", sa.BigInteger(), nullable=True),
        sa.Column("what", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("budget_entry_recent", "budget_entry", ["pot", "at"])
    op.create_table(
        "class_a_release",
        sa.Column("command_id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("statement_timestamp()"), nullable=False),
        sa.Column("device_id", sa.BigInteger(), nullable=False),
        sa.Column("school_id", sa.BigInteger(), nullable=False),
        sa.Column("requested_by", sa.BigInteger(), nullable=True),
        sa.Column("signers", sa.ARRAY(sa.BigInteger()), nullable=False),
        sa.Column("campaign_id", sa.Uuid(), nullable=True),
        sa.PrimaryKeyConstraint("command_id"),
    )
    op.create_index("class_a_release_recent", "class_a_release", ["at"])
    for table in APPEND_ONLY:
        op.execute(
            f"""
            CREATE FUNCTION {table}_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                RAISE EXCEPTION '{table} is append-only';
            END $$;
            CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}
                FOR EACH STATEMENT EXECUTE FUNCTION {table}_is_append_only();
            """
        )
    op.add_column("operator", sa.Column("elevated_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column(
        "operator", sa.Column("made_on_host", sa.Boolean(), server_default=sa.text("false"), nullable=False)
    )


def downgrade() -> None:
    op.drop_column("operator", "made_on_host")
    op.drop_column("operator", "elevated_at")
    for table in ("class_a_release", "budget_entry", "safeguard_threshold"):
        op.drop_table(table)
        op.execute(f"DROP FUNCTION {table}_is_append_only")
    op.drop_table("threshold_request")
