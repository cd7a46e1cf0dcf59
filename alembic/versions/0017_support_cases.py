"""support cases"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

_MOMENT = sa.DateTime(timezone=True)
_OBJECT = postgresql.JSONB(astext_type=sa.Text())
_APPEND_ONLY = ("case_event", "desk_setting")


def _key(name: str) -> sa.Column:
    return sa.Column(name, sa.BigInteger(), sa.Identity(always=True), nullable=False)


def upgrade() -> None:
    op.create_table(
        "support_case",
        _key("id"),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=24), nullable=False),
        sa.Column("device_id", sa.BigInteger(), nullable=True),
        sa.Column("control_number", sa.String(length=32), nullable=False),
        sa.Column("serial", sa.String(length=32), nullable=False),
        sa.Column("school_id", sa.BigInteger(), nullable=False),
        sa.Column("user_id", sa.String(length=64), nullable=True),
        sa.Column("caller", sa.String(length=16), nullable=False),
        sa.Column("verified", sa.String(length=16), nullable=False),
        sa.Column("opened_by", sa.BigInteger(), nullable=False),
        sa.Column("opened_at", _MOMENT, nullable=False),
        sa.Column("deadline_at", _MOMENT, nullable=False),
        sa.Column("escalations", sa.Integer(), server_default="0", nullable=False),
        sa.Column("due_on", sa.Date(), nullable=True),
        sa.Column("text_shown", _OBJECT, server_default="{}", nullable=False),
        sa.Column("wants_lock", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("wants_wipe", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("came_back_at", _MOMENT, nullable=True),
        sa.Column("sim_wanted", sa.String(length=16), nullable=True),
        sa.Column("found_at", _MOMENT, nullable=True),
        sa.Column("spare_id", sa.BigInteger(), nullable=True),
        sa.Column("spare_number", sa.String(length=32), nullable=True),
        sa.Column("police_report_no", sa.String(length=64), nullable=True),
        sa.Column("insurance_no", sa.String(length=64), nullable=True),
        sa.Column("closed_at", _MOMENT, nullable=True),
        sa.Column("closed_by", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["device_id"], ["device.id"], ondelete="SET NULL"),
        sa.ForeignKeyConstraint(["spare_id"], ["device.id"], ondelete="SET NULL"),
        sa.ForeignKeyConstraint(["school_id"], ["school.id"]),
        sa.ForeignKeyConstraint(["opened_by"], ["operator.id"]),
        sa.ForeignKeyConstraint(["closed_by"], ["operator.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    is_open = sa.text("closed_at IS NULL")
    op.create_index("support_case_open", "support_case", ["serial"], unique=True, postgresql_where=is_open)
    op.create_index("support_case_deadline", "support_case", ["deadline_at"], postgresql_where=is_open)
    op.create_index("support_case_serial", "support_case", ["serial", "id"])
    op.create_index("support_case_school", "support_case", ["school_id", "id"])
    op.create_index("ix_support_case_device_id", "support_case", ["device_id"])
    _parts_of_a_case()
    op.create_table(
        "desk_setting",
        _key("id"),
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("school_id", sa.BigInteger(), nullable=True),
        sa.Column("value", _OBJECT, nullable=True),
        sa.Column("set_at", _MOMENT, server_default=sa.text("now()"), nullable=False),
        sa.Column("set_by", sa.String(length=80), nullable=False),
        sa.ForeignKeyConstraint(["school_id"], ["school.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("desk_setting_newest", "desk_setting", ["name", "school_id", "id"])
    for table in _APPEND_ONLY:
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


def _parts_of_a_case() -> None:
    op.create_table(
        "case_event",
        _key("id"),
        sa.Column("case_id", sa.BigInteger(), nullable=False),
        sa.Column("at", _MOMENT, server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("actor", sa.String(length=80), nullable=False),
        sa.Column("what", sa.String(length=40), nullable=False),
        sa.Column("details", _OBJECT, nullable=False),
        sa.ForeignKeyConstraint(["case_id"], ["support_case.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("case_event_case", "case_event", ["case_id", "id"])
    op.create_table(
        "case_command",
        sa.Column("case_id", sa.BigInteger(), nullable=False),
        sa.Column("command_id", sa.Uuid(), nullable=False),
        sa.Column("purpose", sa.String(length=16), nullable=False),
        sa.ForeignKeyConstraint(["case_id"], ["support_case.id"]),
        sa.PrimaryKeyConstraint("case_id", "command_id"),
    )
    op.create_index("case_command_of", "case_command", ["command_id"])
    op.create_table(
        "case_repair",
        _key("id"),
        sa.Column("case_id", sa.BigInteger(), nullable=False),
        sa.Column("order_number", sa.String(length=64), nullable=False),
        sa.Column("vendor", sa.String(length=100), nullable=False),
        sa.Column("sent_on", sa.Date(), nullable=False),
        sa.Column("back_on", sa.Date(), nullable=True),
        sa.ForeignKeyConstraint(["case_id"], ["support_case.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_case_repair_case_id", "case_repair", ["case_id"])


def downgrade() -> None:
    for table in ("desk_setting", "case_repair", "case_command", "case_event", "support_case"):
        op.drop_table(table)
    for table in _APPEND_ONLY:
        op.execute(f"DROP FUNCTION {table}_is_append_only")
