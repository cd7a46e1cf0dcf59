"""whereabouts checks"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

_MOMENT = sa.DateTime(timezone=True)
_OBJECT = postgresql.JSONB(astext_type=sa.Text())


def upgrade() -> None:
    op.add_column("device", sa.Column("stocktaken_at", _MOMENT, nullable=True))
    op.create_table(
        "whereabouts_check",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("fiscal_year", sa.SmallInteger(), nullable=False),
        sa.Column("first_day", sa.Date(), nullable=False),
        sa.Column("last_day", sa.Date(), nullable=False),
        sa.Column("state", sa.String(length=16), server_default="planned", nullable=False),
        sa.Column("all_schools", sa.Boolean(), nullable=False),
        sa.Column("states", _OBJECT, nullable=False),
        sa.Column("by_hand", _OBJECT, nullable=False),
        sa.Column("checkin_days", sa.SmallInteger(), nullable=False),
        sa.Column("silent_days", sa.SmallInteger(), nullable=False),
        sa.Column("checkins_from", _MOMENT, nullable=False),
        sa.Column("deadlines", _OBJECT, nullable=False),
        sa.Column("repeats", sa.String(length=16), server_default="never", nullable=False),
        sa.Column("follows", sa.Uuid(), nullable=True),
        sa.Column("planned_by", sa.String(length=80), nullable=False),
        sa.Column("planned_at", _MOMENT, nullable=False),
        sa.Column("started_at", _MOMENT, nullable=True),
        sa.Column("closed_by", sa.String(length=80), nullable=True),
        sa.Column("closed_at", _MOMENT, nullable=True),
        sa.Column("report_digest", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(["follows"], ["whereabouts_check.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("follows"),
    )
    op.create_index(
        "whereabouts_check_running", "whereabouts_check", ["id"], postgresql_where=sa.text("state = 'running'")
    )
    op.create_table(
        "check_school",
        sa.Column("check_id", sa.Uuid(), nullable=False),
        sa.Column("school_id", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["check_id"], ["whereabouts_check.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["school_id"], ["school.id"]),
        sa.PrimaryKeyConstraint("check_id", "school_id"),
    )
    _tasks()
    _evidence()
    op.create_table(
        "check_step",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("check_id", sa.Uuid(), nullable=False),
        sa.Column("step", sa.String(length=16), nullable=False),
        sa.Column("school_id", sa.BigInteger(), nullable=True),
        sa.Column("done_at", _MOMENT, nullable=False),
        sa.Column("unverified", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["check_id"], ["whereabouts_check.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["school_id"], ["school.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("check_id", "step", "school_id", postgresql_nulls_not_distinct=True),
    )


def _tasks() -> None:
    op.create_table(
        "check_task",
        sa.Column("check_id", sa.Uuid(), nullable=False),
        sa.Column("device_id", sa.BigInteger(), nullable=False),
        sa.Column("school_id", sa.BigInteger(), nullable=False),
        sa.Column("year", sa.SmallInteger(), nullable=True),
        sa.Column("class_name", sa.String(length=32), nullable=True),
        sa.Column("holder_id", sa.BigInteger(), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("hand", sa.String(length=16), nullable=True),
        sa.Column("excluded", sa.String(length=16), nullable=True),
        sa.Column("verified_at", _MOMENT, nullable=True),
        sa.Column("verified_by", sa.String(length=16), nullable=True),
        sa.Column("closed_state", sa.String(length=16), nullable=True),
        sa.Column("closed_seen_at", _MOMENT, nullable=True),
        sa.ForeignKeyConstraint(["check_id"], ["whereabouts_check.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["device_id"], ["device.id"]),
        sa.ForeignKeyConstraint(["holder_id"], ["holder.id"]),
        sa.ForeignKeyConstraint(["school_id"], ["school.id"]),
        sa.PrimaryKeyConstraint("check_id", "device_id"),
        postgresql_with={"fillfactor": 80},
    )
    op.create_index("check_task_school", "check_task", ["check_id", "school_id"])
    op.create_index(
        "check_task_open",
        "check_task",
        ["check_id", "device_id"],
        postgresql_where=sa.text("verified_at IS NULL AND excluded IS NULL"),
    )
    # What a list said at its start stays, what was verified stays so, and of a closed check nothing moves any more.
    op.execute(
        """
        CREATE FUNCTION check_task_is_frozen() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION 'this part of a whereabouts check is frozen';
        END $$;
        CREATE TRIGGER check_task_frozen BEFORE UPDATE ON check_task FOR EACH ROW WHEN (
            OLD.closed_state IS NOT NULL
            OR OLD.verified_at IS NOT NULL AND (OLD.verified_at, OLD.verified_by)
                IS DISTINCT FROM (NEW.verified_at, NEW.verified_by)
            OR (OLD.check_id, OLD.device_id, OLD.school_id, OLD.year, OLD.class_name, OLD.state, OLD.hand, OLD.excluded)
                IS DISTINCT FROM
                (NEW.check_id, NEW.device_id, NEW.school_id, NEW.year, NEW.class_name, NEW.state, NEW.hand, NEW.excluded)
        ) EXECUTE FUNCTION check_task_is_frozen();
        """
    )


def _evidence() -> None:
    op.create_table(
        "check_evidence",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("check_id", sa.Uuid(), nullable=False),
        sa.Column("device_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("seen_at", _MOMENT, nullable=False),
        sa.Column("recorded_at", _MOMENT, server_default=sa.text("now()"), nullable=False),
        sa.Column("actor", sa.String(length=80), nullable=False),
        sa.Column("school_id", sa.BigInteger(), nullable=True),
        sa.Column("hint", sa.Boolean(), server_default="false", nullable=False),
        sa.ForeignKeyConstraint(["check_id", "device_id"], ["check_task.check_id", "check_task.device_id"]),
        sa.ForeignKeyConstraint(["school_id"], ["school.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("check_evidence_task", "check_evidence", ["check_id", "device_id", "id"])
    op.execute(
        """
        CREATE FUNCTION check_evidence_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION 'check_evidence is append-only';
        END $$;
        CREATE TRIGGER check_evidence_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON check_evidence
            FOR EACH STATEMENT EXECUTE FUNCTION check_evidence_is_append_only();
        """
    )


def downgrade() -> None:
    op.drop_table("check_step")
    op.execute("DROP TRIGGER check_evidence_append_only ON check_evidence")
    op.drop_table("check_evidence")
    op.execute("DROP FUNCTION check_evidence_is_append_only")
    op.drop_table("check_task")
    op.execute("DROP FUNCTION check_task_is_frozen")
    op.drop_table("check_school")
    op.drop_table("whereabouts_check")
    op.drop_column("device", "stocktaken_at")
